"""The subcommands of ``suture publisher``, one module each: parse, call, print."""
