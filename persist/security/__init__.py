"""What loading a file would run: `scan` names everything that its loader would import or call.

Nothing is imported, called or built. A pickle's opcodes are followed, archives and compressed
streams are entered whatever their names, and what cannot be looked at is said to be so.
"""

from __future__ import annotations

from persist.security._names import Verdict
from persist.security._report import Finding, ScanReport, sarif
from persist.security._scan import scan

__all__ = ["Finding", "ScanReport", "Verdict", "sarif", "scan"]
