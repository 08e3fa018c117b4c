"""The standard library of Python 3: objects that are no plain values, and are made again.

Most of what the standard library pickles is a plain value when a file is read (dates, numbers, paths,
UUIDs, arrays, deques). This pack lists the rest: classes whose instances are made as their pickles say,
since neither their construction nor their state runs anything but their own assignments, and classes
that `_stdlib` makes, after checks. Applied to files that name one of these modules, and always: no
option leaves these objects out, as the library is never missing.

What is not listed stays a record: functions (`persist.constant` names one), sockets, processes,
locks, code, parsers with bound methods, and what may open or remove a file when it is made or let go.

Evidence: each class pickled with every protocol by CPython 3.11 to 3.13 (``tests/migrations/test_stdlib.py``).
"""

from __future__ import annotations

import builtins
from typing import Final

from persist.migrations import _stdlib

from persist.registry import Registry

__all__ = ["pack"]

pack = Registry("standard library")

# Made as pickle says: the class is called, or its __new__, and its attributes are set.
_INSTANCES: Final = """
argparse Namespace
_ast Add And AnnAssign Assert Assign AsyncFor AsyncFunctionDef AsyncWith Attribute AugAssign AugLoad AugStore Await BinOp BitAnd BitOr BitXor BoolOp Break Bytes Call ClassDef Compare Constant Continue Del Delete Dict DictComp Div Ellipsis Eq ExceptHandler Expr Expression ExtSlice FloorDiv For FormattedValue FunctionDef FunctionType GeneratorExp Global Gt GtE If IfExp Import ImportFrom In Index Interactive Invert Is IsNot JoinedStr LShift Lambda List ListComp Load Lt LtE MatMult Match MatchAs MatchClass MatchMapping MatchOr MatchSequence MatchSingleton MatchStar MatchValue Mod Module Mult Name NameConstant NamedExpr Nonlocal Not NotEq NotIn Num Or Param ParamSpec Pass Pow RShift Raise Return Set SetComp Slice Starred Store Str Sub Subscript Suite Try TryStar Tuple TypeAlias TypeIgnore TypeVar TypeVarTuple UAdd USub UnaryOp While With Yield YieldFrom _ast_Ellipsis alias arg arguments boolop cmpop comprehension excepthandler expr expr_context keyword match_case mod operator pattern slice stmt type_ignore type_param unaryop withitem
ast Add And AnnAssign Assert Assign AsyncFor AsyncFunctionDef AsyncWith Attribute AugAssign AugLoad AugStore Await BinOp BitAnd BitOr BitXor BoolOp Break Bytes Call ClassDef Compare Constant Continue Del Delete Dict DictComp Div Ellipsis Eq ExceptHandler Expr Expression ExtSlice FloorDiv For FormattedValue FunctionDef FunctionType GeneratorExp Global Gt GtE If IfExp Import ImportFrom In Index Interactive Invert Is IsNot JoinedStr LShift Lambda List ListComp Load Lt LtE MatMult Match MatchAs MatchClass MatchMapping MatchOr MatchSequence MatchSingleton MatchStar MatchValue Mod Module Mult Name NameConstant NamedExpr Nonlocal Not NotEq NotIn Num Or Param ParamSpec Pass Pow RShift Raise Return Set SetComp Slice Starred Store Str Sub Subscript Suite Try TryStar Tuple TypeAlias TypeIgnore TypeVar TypeVarTuple UAdd USub UnaryOp While With Yield YieldFrom _ast_Ellipsis alias arg arguments boolop cmpop comprehension excepthandler expr expr_context keyword match_case mod operator pattern slice stmt type_ignore type_param unaryop withitem
calendar Calendar HTMLCalendar TextCalendar LocaleHTMLCalendar LocaleTextCalendar different_locale
collections ChainMap UserDict UserList UserString
decimal Context DecimalTuple
difflib Match
doctest Example
email._policybase Compat32
email.charset Charset
email.header Header
email.headerregistry HeaderRegistry
email.message EmailMessage MIMEPart Message
email.contentmanager ContentManager
email.policy EmailPolicy
functools partialmethod
graphlib TopologicalSorter _NodeInfo
grp struct_group
http.cookiejar Cookie
http.cookies BaseCookie Morsel SimpleCookie
inspect ArgInfo Arguments Attribute BoundArguments ClosureVars FullArgSpec Parameter Signature Traceback
ipaddress IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network
json.decoder JSONDecoder
json.encoder JSONEncoder
logging BufferingFormatter Filter Formatter LogRecord PercentStyle StrFormatStyle StringTemplateStyle
optparse Values
os stat_result statvfs_result terminal_size times_result sched_param
platform uname_result
plistlib UID
posix uname_result sched_param
pwd struct_passwd
random Random
reprlib Repr
resource struct_rusage
sched Event
shutil _ntuple_diskusage
statistics LinearRegression NormalDist
string Formatter Template
subprocess CompletedProcess
tarfile TarInfo
textwrap TextWrapper
time struct_time
tokenize TokenInfo
traceback FrameSummary StackSummary
types SimpleNamespace
urllib.parse DefragResult DefragResultBytes ParseResult ParseResultBytes SplitResult SplitResultBytes
xml.etree.ElementTree ElementTree QName
xmlrpc.client Binary DateTime
zipfile ZipInfo
"""

_ERRORS: Final = """
argparse ArgumentError ArgumentTypeError
asyncio.exceptions BrokenBarrierError CancelledError IncompleteReadError InvalidStateError LimitOverrunError SendfileNotAvailableError TimeoutError
asyncio.queues QueueEmpty QueueFull QueueShutDown
binascii Error Incomplete
calendar IllegalMonthError IllegalWeekdayError
concurrent.futures._base BrokenExecutor CancelledError Error InvalidStateError TimeoutError
configparser DuplicateOptionError DuplicateSectionError Error InterpolationDepthError InterpolationError InterpolationMissingOptionError InterpolationSyntaxError MissingSectionHeaderError MultilineContinuationError NoOptionError NoSectionError ParsingError
copy Error
_csv Error
dataclasses FrozenInstanceError
decimal Clamped ConversionSyntax DecimalException DivisionByZero DivisionImpossible DivisionUndefined FloatOperation Inexact InvalidContext InvalidOperation Overflow Rounded Subnormal Underflow
email.errors BoundaryError CharsetError CloseBoundaryNotFoundDefect FirstHeaderLineIsContinuationDefect HeaderDefect HeaderMissingRequiredValue HeaderParseError HeaderWriteError InvalidBase64CharactersDefect InvalidBase64LengthDefect InvalidBase64PaddingDefect InvalidDateDefect InvalidHeaderDefect InvalidMultipartContentTransferEncodingDefect MessageDefect MessageError MessageParseError MisplacedEnvelopeHeaderDefect MissingHeaderBodySeparatorDefect MultipartConversionError MultipartInvariantViolationDefect NoBoundaryInMultipartDefect NonASCIILocalPartDefect NonPrintableDefect ObsoleteHeaderDefect StartBoundaryNotFoundDefect UndecodableBytesDefect
ftplib Error error_perm error_proto error_reply error_temp
getopt GetoptError
graphlib CycleError
gzip BadGzipFile
http.client BadStatusLine CannotSendHeader CannotSendRequest HTTPException ImproperConnectionState IncompleteRead InvalidURL LineTooLong NotConnected RemoteDisconnected ResponseNotReady UnimplementedFileMode UnknownProtocol UnknownTransferEncoding
http.cookiejar LoadError
http.cookies CookieError
inspect ClassFoundException EndOfBlock
io UnsupportedOperation
ipaddress AddressValueError NetmaskValueError
json.decoder JSONDecodeError
locale Error
_lzma LZMAError
multiprocessing.context AuthenticationError BufferTooShort ProcessError TimeoutError
netrc NetrcParseError
optparse AmbiguousOptionError BadOptionError OptParseError OptionConflictError OptionError OptionValueError
_pickle PickleError PicklingError UnpicklingError
pickle PickleError PicklingError UnpicklingError
plistlib InvalidFileException
poplib error_proto
queue Empty Full ShutDown
_queue Empty
re error
shutil Error ExecError ReadError RegistryError SameFileError SpecialFileError
smtplib SMTPAuthenticationError SMTPConnectError SMTPDataError SMTPException SMTPHeloError SMTPNotSupportedError SMTPRecipientsRefused SMTPResponseException SMTPSenderRefused SMTPServerDisconnected
socket gaierror herror
sqlite3 DataError DatabaseError Error IntegrityError InterfaceError InternalError NotSupportedError OperationalError ProgrammingError Warning
ssl SSLCertVerificationError SSLEOFError SSLError SSLSyscallError SSLWantReadError SSLWantWriteError SSLZeroReturnError
statistics StatisticsError
struct error
subprocess CalledProcessError SubprocessError TimeoutExpired
tarfile AbsoluteLinkError AbsolutePathError CompressionError ExtractError FilterError HeaderError LinkOutsideDestinationError OutsideDestinationError ReadError SpecialFileError StreamError TarError
threading BrokenBarrierError
tokenize TokenError
tomllib TOMLDecodeError
unittest.case SkipTest
urllib.error ContentTooShortError URLError
wave Error
xml.etree.ElementTree ParseError
xmlrpc.client Error Fault ProtocolError ResponseError
zipfile BadZipFile LargeZipFile
zlib error
"""

# Classes and functions to which such states refer by name; none of them is called.
_NAMES: Final = """
collections Counter OrderedDict deque
collections.abc AsyncGenerator AsyncIterable AsyncIterator Awaitable Buffer ByteString Callable Collection Container Coroutine Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence MutableSet Reversible Sequence Set Sized ValuesView
array array
datetime date datetime time timedelta timezone tzinfo
decimal Decimal
email.contentmanager get_and_fixup_unknown_message_content get_message_content get_non_text_content get_text_content set_bytes_content set_message_content set_text_content
email.headerregistry Address AddressHeader BaseHeader ContentDispositionHeader ContentTransferEncodingHeader ContentTypeHeader DateHeader Group MIMEVersionHeader MessageIDHeader ParameterizedMIMEHeader SingleAddressHeader UniqueAddressHeader UniqueDateHeader UniqueSingleAddressHeader UniqueUnstructuredHeader UnstructuredHeader
fractions Fraction
inspect _empty
operator methodcaller
numbers Complex Integral Number Rational Real
os PathLike
pathlib Path PosixPath PurePath PurePosixPath PureWindowsPath
types BuiltinFunctionType EllipsisType FunctionType GeneratorType GenericAlias MappingProxyType MethodType ModuleType NoneType NotImplementedType UnionType
typing AbstractSet Annotated Any AnyStr AsyncContextManager AsyncGenerator AsyncIterable AsyncIterator Awaitable BinaryIO ByteString Callable ChainMap ClassVar Collection Concatenate Container ContextManager Coroutine Counter DefaultDict Deque Dict Final FrozenSet Generator Generic Hashable IO ItemsView Iterable Iterator KeysView List Literal LiteralString Mapping MappingView Match MutableMapping MutableSequence MutableSet NamedTuple Never NewType NoReturn NotRequired Optional OrderedDict Pattern Protocol ReadOnly Required Reversible Self Sequence Set Sized SupportsAbs SupportsBytes SupportsComplex SupportsFloat SupportsIndex SupportsInt SupportsRound Text TextIO Tuple Type TypeAlias TypeGuard TypeIs TypedDict Union Unpack ValuesView
uuid UUID
_ctypes Array
ctypes c_bool c_byte c_ubyte c_short c_ushort c_int c_uint c_long c_ulong c_longlong c_ulonglong c_float c_double c_longdouble c_size_t c_ssize_t c_char
"""


def _listed(table: str) -> dict[str, list[str]]:
    """Module -> dotted names, of a table with a module in each line."""
    rows = (line.split() for line in table.strip().splitlines())
    return {module: [f"{module}.{name}" for name in names] for module, *names in rows}


# Names of one type in other releases.
_ALIASES: Final = {
    "re.PatternError": "re.error",
    "sre_constants.error": "re.error",
    "queue.Empty": "_queue.Empty",
    "asyncio.exceptions.TimeoutError": "builtins.TimeoutError",
    "concurrent.futures._base.TimeoutError": "builtins.TimeoutError",
    "posix.stat_result": "os.stat_result",
    "posix.terminal_size": "os.terminal_size",
    "posix.times_result": "os.times_result",
    "posix.statvfs_result": "os.statvfs_result",
    "nt.stat_result": "os.stat_result",
    "nt.terminal_size": "os.terminal_size",
}


def _fill() -> None:
    for table in (_INSTANCES, _ERRORS):
        for module, names in _listed(table).items():
            pack.importable(*names, library=module, instances=True)
    errors = [
        f"builtins.{name}"
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    pack.importable(*errors, library="builtins", instances=True)
    for module, names in _listed(_NAMES).items():
        pack.importable(*names, library=module, always=True)
    for function, listed in _stdlib.FUNCTIONS.items():
        for name in listed:
            pack.rebuild(
                name,
                library=name.rpartition(".")[0],
                takes_names=function is _stdlib.union,
                always=True,
                taken=_stdlib.TAKEN.get(function),
            )(function)
    for name, value in _stdlib.METHODS.items():
        pack.importable(name, library="builtins", substitute=value, always=True)
    for old, new in _ALIASES.items():
        pack.alias(old, new)


_fill()
