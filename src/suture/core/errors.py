"""One drawn tree of errors. Each knows whose fault it is, what to do next, and the exit code of a command it ends.

Codes are stable slugs (``baseline-mismatch``): scripts, status files and reports carry them, people read the message.
Messages begin in lower case with what cannot be done; ``advice`` is the next step for the reader.

    SutureError
    ├── InputError            2  a person's words or files          UsageError, NotKnownError
    ├── RefusedError         1x  the device's own rules say no      BusyError, PolicyError, NothingToDoError
    ├── NetworkError         3x  the way to the repository          UnreachableError, SlowError
    ├── TrustError           3x  what was offered is not trusted    SignatureError, ExpiredError, RolledBackError,
    │                                                               SecondDigestError, RepositoryError
    ├── ImprovementError     4x  signed, but not for us or not well ManifestError, WrongTargetError, AgentTooOldError,
    │                            formed                             PatchError, BaselineMismatchError, MetadataError,
    │                                                               TreeError, DigestMismatchError
    ├── ServiceError         5x  what runs on the device            RestartError, HealthError, NotAllowedError
    └── HostError            6x  the host under us                  StorageError, DiskFullError, ReadOnlyError,
                                                                    JournalError
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who can mend it."""

    PERSON = "person"
    PUBLISHER = "publisher"
    NETWORK = "network"
    DEVICE = "device"
    SUTURE = "suture"


class SutureError(Exception):
    """Base of all errors that Suture raises on purpose.

    Args:
        message: what cannot be done and why, lower case, one sentence, no traceback talk.
        advice: the next step for the reader; the class's own default when left out.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    fault: ClassVar[Fault] = Fault.SUTURE
    default_advice: ClassVar[str] = "run the command again; if it happens again, report it with the text above"

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice if advice is not None else self.default_advice


# --- a person's words or files ------------------------------------------------------------------------------------


class InputError(SutureError):
    """Something a person typed or handed over cannot be used."""

    code = "bad-input"
    exit_code = 2
    fault = Fault.PERSON
    default_advice = "correct what the message names and run the command again"


class UsageError(InputError):
    """A command's words are off."""

    code = "usage"
    default_advice = "see the command's --help"


class NotKnownError(InputError):
    """A product, level, key or setting of that name is not known here."""

    code = "not-known"
    exit_code = 3
    default_advice = "list what is known with the command's list or status form"


# --- the device's own rules ---------------------------------------------------------------------------------------


class RefusedError(SutureError):
    """The device's rules, not a fault, say no."""

    code = "refused"
    exit_code = 10
    fault = Fault.DEVICE
    default_advice = "run `suture why` to see which rule holds it"


class BusyError(RefusedError):
    """Another command or the agent is in the middle of a transition."""

    code = "busy"
    exit_code = 11
    default_advice = "wait until the other command has ended, then run this one again"


class PolicyError(RefusedError):
    """A policy in force forbids it."""

    code = "policy-forbids"
    exit_code = 12
    default_advice = "run `suture policy show` to see which policy and who set it"


class NothingToDoError(RefusedError):
    """There is nothing of that kind to do."""

    code = "nothing-to-do"
    exit_code = 13
    default_advice = "run `suture status` to see where the device stands"


class RightsError(RefusedError):
    """The caller may not do this."""

    code = "no-rights"
    exit_code = 14
    default_advice = "run it as the administrator of this device"


class SigningDueError(RefusedError):
    """An offline role must be signed again soon, and only a person can; `publisher refresh` ends with this code."""

    code = "signing-due"
    exit_code = 15
    fault = Fault.PUBLISHER
    default_advice = "run `suture publisher refresh --offline` where the offline keys are"


# --- the way to the repository ------------------------------------------------------------------------------------


class NetworkError(SutureError):
    """The repository could not be read."""

    code = "network"
    exit_code = 30
    fault = Fault.NETWORK
    default_advice = "nothing changed on the device; the agent tries again by itself"


class UnreachableError(NetworkError):
    """No answer, a refused connection, or an answer that is not the file."""

    code = "unreachable"


class SlowError(NetworkError):
    """The deadline for the whole transfer passed, however lively the trickle."""

    code = "too-slow"


# --- trust --------------------------------------------------------------------------------------------------------


class TrustError(SutureError):
    """What the repository serves is not trusted."""

    code = "untrusted"
    exit_code = 31
    fault = Fault.PUBLISHER
    default_advice = "nothing was installed; tell the product's vendor, and check that the repository address is theirs"


class SignatureError(TrustError):
    """Signatures missing, wrong, or below the threshold."""

    code = "bad-signature"


class ExpiredError(TrustError):
    """Metadata is past its expiry: correct once, stale now (a freeze, or a publisher asleep)."""

    code = "expired"
    exit_code = 32
    default_advice = "nothing was installed and nothing was removed; it heals by itself when the publisher signs again"


class RolledBackError(TrustError):
    """Older than what this device has already seen."""

    code = "rolled-back"
    exit_code = 33


class SecondDigestError(TrustError):
    """A level number that this device knows with another digest."""

    code = "second-digest"
    exit_code = 34


class RepositoryError(TrustError):
    """Signed metadata is malformed, over its limits, or does not hang together."""

    code = "bad-repository"
    exit_code = 35


# --- improvements -------------------------------------------------------------------------------------------------


class ImprovementError(SutureError):
    """An improvement that cannot be built or taken."""

    code = "bad-improvement"
    exit_code = 40
    fault = Fault.PUBLISHER
    default_advice = "the device stays as it was; tell the product's vendor"


class ManifestError(ImprovementError):
    """A manifest that is malformed or breaks a rule of the format."""

    code = "bad-manifest"


class WrongTargetError(ImprovementError):
    """A manifest for another product, release, architecture or level than its place says."""

    code = "wrong-target"
    exit_code = 41


class AgentTooOldError(ImprovementError):
    """The manifest asks for a newer agent."""

    code = "agent-too-old"
    exit_code = 42
    fault = Fault.DEVICE
    default_advice = "update Suture on this device"


class PatchError(ImprovementError):
    """A patch that is malformed, over its signed sizes, or does not give the signed digest."""

    code = "bad-patch"
    exit_code = 43


class DigestMismatchError(PatchError):
    """Bytes whose digest is not the signed one."""

    code = "digest-mismatch"


class BaselineMismatchError(ImprovementError):
    """The device's baseline files are not those that the improvement was made for."""

    code = "baseline-mismatch"
    exit_code = 44
    fault = Fault.DEVICE
    default_advice = "reinstall the product's release; a changed file is named in the message"


class MetadataError(ImprovementError):
    """Owners, set-id bits, capabilities, ACLs or labels that a layer may not carry."""

    code = "unsupported-metadata"
    exit_code = 45


class TreeError(ImprovementError):
    """A tree holds something an improvement may not: devices, sockets, hard links, escaping links, bad names."""

    code = "bad-tree"
    exit_code = 46


# --- what runs on the device --------------------------------------------------------------------------------------


class ServiceError(SutureError):
    """Something that runs on the device did not do as asked."""

    code = "service"
    exit_code = 50
    fault = Fault.DEVICE
    default_advice = "run `suture why` and look at the service's own log"


class RestartError(ServiceError):
    """A service did not come back."""

    code = "restart-failed"
    exit_code = 51


class HealthError(ServiceError):
    """A declared health check failed."""

    code = "health-failed"
    exit_code = 52


class NotAllowedError(ServiceError):
    """A manifest names a unit, service or command that the product file does not allow."""

    code = "not-allowed"
    exit_code = 53
    fault = Fault.PUBLISHER
    default_advice = "nothing was run; the product file on this device lists what its manifests may restart and run"


# --- the host -----------------------------------------------------------------------------------------------------


class HostError(SutureError):
    """The host under us."""

    code = "host"
    exit_code = 60
    fault = Fault.DEVICE
    default_advice = "mend the host's fault that the message names; the device stays as it was"


class StorageError(HostError):
    """A file could not be read or written."""

    code = "storage"


class DiskFullError(StorageError):
    """No space, or the store's quota is used up."""

    code = "disk-full"
    exit_code = 61
    default_advice = "free some space; the agent tries again by itself"


class ReadOnlyError(StorageError):
    """The state directory cannot be written."""

    code = "read-only"
    exit_code = 62
    default_advice = "make the state directory writable for this user, or name another with --state-directory"


class JournalError(HostError):
    """The journal cannot be read or is not ours."""

    code = "bad-journal"
    exit_code = 63
    default_advice = "keep the file for a report; `suture product add` in a new state directory starts afresh"


def exit_code_for(code: str) -> int:
    """The exit code of an error by its stable code; 1 for one that is not in the tree."""
    pending: list[type[SutureError]] = [SutureError]
    while pending:
        kind = pending.pop()
        if kind.code == code:
            return kind.exit_code
        pending.extend(kind.__subclasses__())
    return 1
