"""What is known about the names that a file can make a loader import.

The standard library is judged by what is listed as harmless: all else in it is at least
suspicious, since no list of its dangerous functions was ever complete. Of other libraries the
functions that run code, import, open files or load pickles are listed; what is listed nowhere is
unknown.

Sources: the public advisories against scanners and restricted unpicklers (GitHub advisories of
picklescan, fickling, modelscan, skops and Keras of 2021 to 2026), and the source of the libraries.
"""

from __future__ import annotations

import sys
from typing import Literal

from persist._runtime.lazy_regex import regex

__all__ = ["Verdict", "is_importable", "judged"]

Verdict = Literal["safe", "unknown", "suspicious", "dangerous", "could not look"]

_PY2 = {
    "__builtin__": "builtins", "copy_reg": "copyreg", "cPickle": "pickle", "commands": "subprocess",
    "httplib": "http.client", "urllib2": "urllib.request", "__builtins__": "builtins",
    "Queue": "queue", "UserDict": "collections", "exceptions": "builtins", "thread": "_thread",
    "dummy_thread": "_thread", "cStringIO": "io", "StringIO": "io", "popen2": "subprocess",
    "imp": "importlib", "sets": "collections", "itertools": "itertools", "ordereddict": "collections",
}  # fmt: skip

# Modules of the standard library whose functions run code or commands, import, or reach files,
# processes and the net: every name in them, and in their submodules.
_RUNNING = frozenset(
    (
        "os", "nt", "posix", "sys", "subprocess", "pty", "shutil", "socket", "ssl", "runpy", "code", "codeop",
        "importlib", "imp", "pkgutil", "zipimport", "ctypes", "_ctypes", "cffi", "asyncio", "multiprocessing",
        "concurrent", "threading", "_thread", "signal", "pdb", "bdb", "cProfile", "profile", "_lsprof", "timeit",
        "trace", "doctest", "pydoc", "unittest", "test", "venv", "ensurepip", "pip", "distutils", "setuptools",
        "pkg_resources", "lib2to3", "idlelib", "webbrowser", "http", "urllib", "ftplib", "smtplib", "imaplib",
        "poplib", "nntplib", "telnetlib", "xmlrpc", "socketserver", "cgi", "cgitb", "wsgiref", "tempfile", "glob",
        "fileinput", "linecache", "dbm", "shelve", "sqlite3", "marshal", "pickle", "_pickle", "pickletools",
        "_posixsubprocess", "_winapi", "winreg", "msvcrt", "gc", "inspect", "dis", "site", "sysconfig",
        "_sysconfig", "_osx_support", "_aix_support", "_pyrepl", "_interpreters", "_xxsubinterpreters", "interpreters",
        "readline", "rlcompleter", "tkinter", "turtle", "atexit", "faulthandler", "tracemalloc", "resource",
        "select", "selectors", "mmap", "fcntl", "termios", "tty", "crypt", "pwd", "grp", "spwd", "syslog", "ast",
        "symtable", "tokenize", "py_compile", "compileall", "builtins", "_frozen_importlib",
        "_frozen_importlib_external", "zipfile", "tarfile", "zipapp", "lzma", "bz2", "gzip", "wave", "plistlib",
        "configparser", "netrc", "mailbox", "mailcap", "antigravity", "this", "_testcapi", "_testinternalcapi",
        "cmd", "sched", "contextlib", "weakref", "_weakref", "io", "_io", "codecs", "_codecs", "operator", "_operator",
        "types", "functools", "_functools", "logging", "uuid", "copyreg", "json", "re",
    )
)  # fmt: skip

# Exact names of the standard library that build plain data and nothing else.
_PLAIN = {
    "builtins": (
        "bool bytearray bytes complex dict float frozenset int list long object range set slice str tuple type "
        "unicode xrange Ellipsis NotImplemented NoneType reversed enumerate zip property staticmethod classmethod "
        "super abs all any ascii bin chr divmod hash hex len max min oct ord pow print repr round sorted sum "
        "ArithmeticError AssertionError AttributeError BaseException BlockingIOError BufferError EOFError Exception "
        "FileExistsError FileNotFoundError FloatingPointError IOError ImportError IndexError KeyError "
        "KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError NotImplementedError OSError "
        "OverflowError PermissionError RecursionError ReferenceError RuntimeError StopIteration SyntaxError "
        "SystemError TimeoutError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError "
        "UnicodeTranslateError ValueError ZeroDivisionError Warning UserWarning DeprecationWarning FutureWarning "
        "RuntimeWarning"
    ),
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "codecs": "encode",
    "io": "BytesIO StringIO",
    "_io": "BytesIO StringIO",
    "logging": "Logger getLogger PlaceHolder RootLogger",
    "uuid": "UUID SafeUUID",
    "types": "SimpleNamespace NoneType MappingProxyType EllipsisType NotImplementedType GenericAlias UnionType",
    "functools": "partial cmp_to_key",
    "_functools": "partial",
    "re": "_compile Pattern RegexFlag",
    "operator": "itemgetter add sub mul truediv floordiv mod neg pos eq ne lt le gt ge and_ or_ xor not_",
    "_operator": "itemgetter add sub mul truediv floordiv mod neg pos eq ne lt le gt ge and_ or_ xor not_",
    "inspect": "Signature Parameter _ParameterKind _empty",
    "threading": "",
    "argparse": "Namespace",
    "json": "JSONDecodeError",
    "weakref": "WeakKeyDictionary WeakValueDictionary WeakSet",
    "multiprocessing": "",
}  # fmt: skip
_PLAIN_NAMES = {module: frozenset(names.split()) for module, names in _PLAIN.items()}

# Modules of the standard library in which every class is plain data.
_DATA = frozenset(
    (
        "collections", "_collections", "datetime", "_datetime", "_strptime", "decimal", "_decimal", "_pydecimal",
        "fractions", "zoneinfo", "array", "enum", "random", "_random", "numbers", "statistics", "ipaddress",
        "pathlib", "itertools", "struct", "string", "time", "calendar", "math", "cmath", "typing", "dataclasses",
        "abc", "_abc", "queue", "copy", "heapq", "bisect", "graphlib", "difflib", "textwrap", "hashlib", "_hashlib",
    )
)  # fmt: skip
# Names in those that are not: they run code, import, call back, or open files.
_NOT_DATA = regex(
    r"(?:.*\.)?(?:__\w+__|open|read_\w+|write_\w+|unlink|rmdir|rename|replace|touch|mkdir|chmod|"
    r"symlink_to|hardlink_to|link_to|glob|rglob|iterdir|walk|owner|group|cwd|home|expanduser|resolve|"
    r"namedtuple|_itemgetter|_sys|_operator|_os|os|sys|io|_make_class|make_dataclass|get_type_hints|ForwardRef|"
    r"_eval_type|_imp|_weakref|_collections_abc|fspath|file_digest|starmap|accumulate|groupby|"
    r"takewhile|dropwhile|filterfalse|_exec\w*|_create_fn|_set_new_attribute|_convert_|global_enum\w*|"
    r"_simple_enum|_test\w*|main|_main|_reconstruct|_decompose|property)(?:\..*)?\Z"
)
_ENUM_CALL = frozenset(("pathlib.Path",))

# Other libraries: what runs code, loads pickles, opens files, imports. Whole name, from its begin.
_DANGEROUS = regex(
    r"(?:"
    # NumPy and SciPy
    r"numpy\.(?:testing|f2py|distutils|ctypeslib|_build_utils|compat\.py3k|_core\._methods\.umr|tests)\b.*"
    r"|numpy\.(?:lib\.(?:npyio|_npyio_impl|format|_datasource|utils|_utils_impl|introspect)\.|lib\.)?"
    r"(?:load|loads|loadtxt|genfromtxt|fromfile|fromregex|save|savez|savez_compressed|savetxt|memmap|open_memmap|"
    r"DataSource|safe_eval|source|info|lookfor|read_array|NpzFile|tofile)\b.*"
    r"|numpy\.(?:core|_core)\.(?:memmap|_internal\._ctypes|records\.fromfile|multiarray\.fromfile|_multiarray_umath\.fromfile).*"
    r"|numpy\.(?:ma\.core|core|_core|matlib|lib|ma)\.(?:.*\.)?(?:os|sys|builtins|warnings|inspect|subprocess)\b.*"
    r"|scipy\.(?:io|weave|datasets|misc\.common|_lib\._ccallback|_lib\._testutils|sparse\._?(?:matrix_)?(?:io|_matrix_io))\b.*"
    r"|scipy\.(?:sparse\.load_npz|sparse\.save_npz|weave.*)"
    # pandas
    r"|pandas\.(?:io|compat\.pickle_compat|util\._tester|util\._print_versions|core\.computation|eval|_testing)\b.*"
    r"|pandas\.read_\w+|pandas\.(?:HDFStore|ExcelFile|ExcelWriter)|pandas\.core\.(?:frame\.DataFrame|generic\.NDFrame|series\.Series)\.(?:eval|query|to_\w+|apply|pipe|map|agg|aggregate|transform)"
    # scikit-learn, joblib, dill, cloudpickle
    r"|sklearn\.(?:datasets|utils\._testing|externals\._packaging|setup|_build_utils|utils\._show_versions)\b.*"
    r"|(?:sklearn\.externals\.)?joblib\.(?:load|dump|Memory|Parallel|numpy_pickle\.(?:load|load_temporary_memmap|_unpickle)|"
    r"numpy_pickle_compat\.(?:load_compatibility|ZipNumpyUnpickler)|memory|_store_backends|externals|parallel|_parallel_backends|"
    r"pool|executor|disk|func_inspect|_memmapping_reducer|_utils\.eval_expr|logger)\b.*"
    r"|(?:dill|_dill)(?:\.(?:_dill|dill))?\.(?:load\w*|_create_function|_create_code|_create_cell|_import_module|_eval_repr|"
    r"_getattribute|_get_attr|_create_filehandle|_create_stringi|_create_typemap|_exec|Unpickler|temp\.|source\.|"
    r"_create_type|_create_weakref|_create_weakproxy|_create_rlock|_create_lock|_restore_modules|session).*"
    r"|dill\.(?:source|temp|session|detect|settings|objtypes)\b.*"
    r"|(?:\w+\.externals\.)*(?:loky\.)?cloudpickle(?:\.cloudpickle(?:_fast)?)?\.(?:_make_function|_make_skel_func|_fill_function|"
    r"_function_setstate|_make_cell|_make_empty_cell|_builtin_type|subimport|dynamic_subimport|load|loads|_gen_ellipsis|"
    r"_make_skeleton_class|_make_skeleton_enum|_class_setstate|_rehydrate_skeleton_class|_lookup_class_or_track|"
    r"_get_cell_contents|_modules_to_main|_rebuild_code|_make_dict_keys|CloudPickler|instancemethod)\b.*"
    # torch and those around it
    r"|torch\.(?:load|save|serialization|hub|package|jit\.(?:load|script|unsupported_tensor_ops|_script|_recursive|frontend|trace)|"
    r"_dynamo|_inductor|_export|_functorch|compile|fx\.(?:experimental|graph|_symbolic_trace|graph_module|passes)|"
    r"utils\.(?:_config_module|bottleneck|collect_env|cpp_extension|data\.datapipes\.utils|data\._utils|hipify|"
    r"model_dump|file_baton|model_zoo|show_pickle|tensorboard|_cpp_extension_versioner|benchmark|viz|_exposed_in)|"
    r"distributed\.(?:rpc|launcher|elastic|run|launch|nn\.jit|distributed_c10d)|multiprocessing|testing|"
    r"ops\.load_library|classes\.load_library|_classes|_ops|cuda\._utils|_sources|_jit_internal|_C\._jit\w*|backends\._nnapi|"
    r"storage\._load_from_bytes|_lobpcg|onnx|ao\.ns|contrib|_appdirs|_vendor|_utils_internal|_weights_only_unpickler|"
    r"from_file|Tensor\.(?:numpy|__reduce_ex__)|UntypedStorage\.from_file|nn\.parallel\.distributed)\b.*"
    r"|torchvision\.(?:datasets|io)\b.*|torchaudio\.(?:load|datasets)\b.*|pytorch_lightning\.(?:utilities\.cloud_io|cli)\b.*"
    r"|(?:transformers|datasets|huggingface_hub|diffusers|accelerate|peft)\b.*\b(?:from_pretrained|load\w*|hf_hub_download|"
    r"snapshot_download|pipeline|run\w*|exec\w*|download\w*|get_class_from_dynamic_module)"
    # TensorFlow, Keras
    r"|(?:tensorflow|tf_keras|keras)\b.*\b(?:get_file|load_model|load_weights|save_model|enable_unsafe_deserialization|"
    r"deserialize_keras_object|func_load|func_dump|python_utils|io_utils|file_utils|py_function|numpy_function|"
    r"py_func|load_library|load_op_library|read_file|write_file|gfile|GFile|model_from_(?:json|yaml|config)|"
    r"load_img|image_dataset_from_directory|text_dataset_from_directory|TorchModuleWrapper|enable_interactive_logging)"
    r"|tensorflow\.(?:io|python\.(?:lib\.io|platform|saved_model|eager\.context|ops\.script_ops)|compat\.v1\.gfile|saved_model)\b.*"
    # others that scanners and advisories name
    r"|(?:theano|aesara|pytensor)\.(?:compile\.function|misc\.pkl_utils\.load|gof\.cc|gof\.cmodule|gof\.compilelock|link\.c\.cmodule|"
    r"misc\.pkl_utils\.CompatUnpickler|misc\.safe_asarray|raise_op|utils\.(?:output_subprocess_Popen|call_subprocess_Popen)|compat).*"
    r"|(?:aiohttp|requests|httpx|paramiko|fabric|invoke|plumbum|pexpect|psutil|IPython|jinja2|mako|yaml|ruamel|docker|"
    r"fsspec|s3fs|gcsfs|smart_open|cffi|rpyc|Pyro4|execnet|pip|setuptools|wheel|pkg_resources|_distutils_hack|"
    r"jsonpickle|asteval|simpleeval|pyarrow\.(?:fs|hdfs|plasma|serialization|cffi)|skops\.io|persist\.(?!versioned\b))\b.*"
    r"|h5py\.File|zarr\.open\w*|PIL\.Image\.open|networkx\.(?:read_\w+|readwrite\b.*)|gensim\.utils\.unpickle"
    r"|(?:sympy|ipykernel|nbformat|nbconvert|git|boto3|botocore|Cython|pythran|numba|pydash|flask|django|werkzeug|"
    r"tornado|celery|ray|dask|distributed|pytest|_pytest|nose|pluggy|twisted|gunicorn|uvicorn|click|fire|absl|hydra|"
    r"wandb|mlflow|cv2|nltk|statsmodels\.(?:iolib|datasets)|xgboost|bentoml|pyspark|streamlit|gradio|scrapy|selenium|"
    r"playwright|ansible|salt|vega|mathutils|peewee|sqlalchemy|psycopg2|pymysql|redis|kombu|loky|srsly|spacy|thinc)"
    r"\b(?:\.\w+)*\.(?:\w*(?:load|open|run|exec|eval|call|system|shell|popen|spawn|import|download|fetch|request|compile|"
    r"read|write|dump|save|unpickle|remove|delete|connect)\w*)"
    r")\Z"
)
# Modules that a dotted name reaches through another one: ``torch.os.system``.
_REACHED = frozenset(
    (
        "os", "sys", "subprocess", "builtins", "__builtins__", "importlib", "ctypes", "shutil", "socket", "runpy",
        "pickle", "marshal", "codeop", "pty", "posix", "nt", "inspect", "types", "_sys", "_os", "tempfile",
        "__globals__", "__dict__", "__class__", "__bases__", "__base__", "__mro__", "__subclasses__", "__code__",
        "__closure__", "__init__", "__import__", "__loader__", "__spec__", "__getattribute__", "__reduce__",
        "__reduce_ex__", "__func__", "__self__", "__call__", "__wrapped__", "f_globals", "gi_frame", "eval", "exec",
        "system", "popen", "__setattr__", "__delattr__", "__kwdefaults__", "__defaults__", "__module__",
    )
)  # fmt: skip
# Exact names of other libraries that rebuild plain data.
_SAFE = regex(
    r"(?:numpy(?:\.core|\._core)?(?:\.(?:multiarray|_multiarray_umath|numeric|umath|_internal|numerictypes))?\."
    r"(?:_reconstruct|scalar|ndarray|dtype|_frombuffer|_ufunc_reconstruct|_convert_to_stringdtype_kwargs|matrix|recarray|"
    r"bool_?|u?int(?:8|16|32|64|c|p)?|float(?:16|32|64|128|_)?|complex(?:64|128|256|_)?|datetime64|timedelta64|str_|"
    r"bytes_|void|object_|generic|number|floating|integer|longlong|ulonglong|longdouble|clongdouble|half|single|double)"
    r"|numpy\.(?:core|_core)\.(?:records|defmatrix)\.(?:record|recarray)|numpy\.(?:rec\.)?(?:record|recarray)"
    r"|numpy\.matrixlib\.defmatrix\.matrix|numpy\.dtypes\.\w+DType|numpy\.dtypes\.dtype"
    r"|numpy\.ma(?:\.core|\.mrecords)?\.(?:_mareconstruct|_mrreconstruct|MaskedArray|MaskedRecords|MaskedConstant)"
    r"|numpy\.random(?:\._?pickle)?\.(?:__randomstate_ctor|__RandomState_ctor|__generator_ctor|__bit_generator_ctor)"
    r"|numpy\.random(?:\.[\w]+)?\.(?:RandomState|Generator|MT19937|PCG64|PCG64DXSM|Philox|SFC64|SeedSequence|"
    r"__pyx_unpickle_SeedSequence)|mtrand\.__RandomState_ctor"
    r"|numpy\.polynomial\.\w+\.\w+|numpy(?:\.lib\.(?:polynomial|_polynomial_impl))?\.poly1d"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type(?:_v2)?|torch\.\w*(?:Storage|Tensor)"
    r"|torch\.(?:storage\.\w*Storage|Size|device|dtype|Generator|layout|memory_format|float\d*|double|half|bfloat16|"
    r"u?int\d*|long|short|bool|complex\d+|strided|sparse_\w+|per_tensor_affine|per_channel_affine|preserve_format|"
    r"contiguous_format|channels_last|cuda\.\w+(?:Storage|Tensor)|serialization\._get_layout)"
    r"|torch\.nn\.parameter\.(?:Parameter|Buffer|UninitializedParameter)|torch\.(?:_tensor|tensor)\.Tensor"
    r"|torch\.nn\.(?:modules|quantized|qat|intrinsic)\.[\w.]+\.[A-Z]\w*|torch\.optim\.\w+\.[A-Z]\w*"
    r"|torch\.jit\._pickle\.build_\w+|torch\.backends\.cuda\.\w+"
    r"|joblib\.numpy_pickle(?:_compat)?\.(?:NumpyArrayWrapper|NDArrayWrapper|ZNDArrayWrapper)"
    r"|sklearn\.externals\.joblib\.numpy_pickle(?:_compat)?\.(?:NumpyArrayWrapper|NDArrayWrapper|ZNDArrayWrapper)"
    r"|sklearn\.(?!externals|datasets|setup|utils\._testing|_build_utils)[\w.]+\.[A-Z]\w*"
    r"|sklearn\.[\w.]+\.(?:newObj|__pyx_unpickle_\w+)"
    r"|scipy\.sparse\.[\w.]+\.[a-z]{3}_(?:matrix|array)|scipy\.stats\.[\w.]+\.\w*(?:frozen|_gen|distribution)"
    r"|scipy\.(?:interpolate|spatial)\.[\w.]+\.[A-Z]\w*"
    r"|pandas\.(?!io\b|util\b|compat\b)[\w.]+\.(?:[A-Z]\w*|_new_\w+|__nat_unpickle|_nat_unpickle|_unpickle_\w+|"
    r"_timedelta_unpickle|new_block|__pyx_unpickle_\w+)"
    r"|pyarrow\.lib\.\w+|pytz\.(?:_UTC|_p|_FixedOffset|tzfile\.\w+)|dateutil\.tz\.tz\.\w+|jax\.[\w.]+\._?reconstruct_\w+"
    r"|persist\.versioned\.(?:_set_state|_array|_constant)|copyreg\.extension 0"
    r"|keras\.(?:src\.)?(?:layers|models|activations|initializers|regularizers|constraints|losses|metrics|optimizers)\b"
    r"(?:\.\w+)*\.\w+|(?:tensorflow\.)?(?:tf_)?keras\.(?:src\.)?(?:layers|models|activations|initializers|regularizers|"
    r"constraints|losses|metrics|optimizers|engine|dtype_policies)\b(?:\.\w+)*\.\w+)\Z"
)
_MODULE = regex(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")


def is_importable(module: str, name: str) -> bool:
    """Whether a module of this name could be on disk: nothing else is ever imported."""
    return bool(_MODULE.match(module)) and bool(name) and len(module) + len(name) < 4096


def judged(module: str, name: str, how: str = "global") -> tuple[Verdict, str]:
    """Return the verdict upon a name that a loader would import, and why.

    Args:
        module: as the file spells it; names of Python 2 are those of today.
        name: dotted where it is an attribute of an attribute.
        how: as `persist.security._opcodes.Import.how`.
    """
    if how == "extension":
        return "dangerous", "a code of copyreg's registry: what it names depends on the process"
    if how == "computed":
        return "dangerous", "the name is computed while it is loaded"
    home = _PY2.get(module, module)
    first = home.partition(".")[0]
    steps = name.split(".")
    dotted = f"{home}.{name}"
    is_standard = first in sys.stdlib_module_names or home in _PY2.values() or first in _RUNNING
    if is_standard and first in _RUNNING:
        return _of_standard_library(home, name)
    if not _REACHED.isdisjoint(steps):
        return "dangerous", "it reaches another module, or Python's own machinery, by an attribute"
    if is_standard:
        return _of_standard_library(home, name)
    if _SAFE.match(dotted) and len(steps) == 1:
        return "safe", "rebuilds plain data"
    if _DANGEROUS.match(dotted):
        return "dangerous", "runs code, imports, loads other files, or reaches the system"
    if _SAFE.match(dotted):
        return "safe", "rebuilds plain data"
    return "unknown", "a class or function of which nothing is known here"


def _of_standard_library(module: str, name: str) -> tuple[Verdict, str]:
    first = module.partition(".")[0]
    if name in _PLAIN_NAMES.get(module, ()):
        return "safe", "builds plain data"
    if first == "collections" and name == "namedtuple":
        return "dangerous", "makes a class by running code"
    if first in _DATA:
        if _NOT_DATA.match(name):
            return "suspicious", "does more than build plain data"
        return "safe", "builds plain data"
    if first in _RUNNING:
        if first == "builtins" and name in ("getattr", "setattr", "delattr", "vars", "dir", "id"):
            return "dangerous", "reaches any attribute of any object"
        return "dangerous", "runs code, imports, or reaches files, processes or the net"
    return "suspicious", "a part of the standard library that no data needs"
