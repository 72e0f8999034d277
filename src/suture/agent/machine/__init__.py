"""The machine: events in, instructions out. Pure: no clock, no file, no process; time comes with each event.

`state` is what the journal keeps, `events` what may happen, `instructions` what the executor must do, `choice` which
level to aim at and why not another, `transitions` the rules, `invariants` what must hold after every step.
"""
