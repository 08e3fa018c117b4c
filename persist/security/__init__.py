"""What loading a file would run, and who signed it.

`scan` names everything that the loader of a file would import or call. Nothing is imported, called or built. A pickle's opcodes are followed, archives and compressed
streams are entered whatever their names, and what cannot be looked at is said to be so. `sign` puts a signature into a container, which
`check_signature` and ``persist.load(require_signature=)`` check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persist._runtime.lazy_exports import lazy_exports
from persist.security._names import Verdict
from persist.security._report import Finding, ScanReport, sarif
from persist.security._scan import scan

if TYPE_CHECKING:
    from persist._container.signed import Signature, check_signature, new_key, sign, signatures

# Whoever scans needs no writer.
__getattr__ = lazy_exports(
    __name__,
    dict.fromkeys(
        ("Signature", "check_signature", "new_key", "sign", "signatures"),
        "persist._container.signed",
    ),
)

__all__ = [
    "Finding",
    "ScanReport",
    "Signature",
    "Verdict",
    "check_signature",
    "new_key",
    "sarif",
    "scan",
    "sign",
    "signatures",
]
