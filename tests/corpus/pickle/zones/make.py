"""Moments with zones of dateutil and pytz: python make.py OUT (Python 2.7 or 3)."""

import datetime
import pickle
import sys

import dateutil.tz as tz

D = datetime.datetime
berlin = tz.gettz("Europe/Berlin")
moments = [
    D(2014, 7, 1, 12, tzinfo=berlin),
    D(2014, 1, 1, 12, tzinfo=berlin),
    D(2014, 7, 1, tzinfo=tz.tzutc()),
    D(2014, 7, 1, tzinfo=tz.tzoffset("X", 5400)),
]
alone = None
try:
    import pytz
except ImportError:
    moments += [D(2013, 10, 27, 2, 30, tzinfo=berlin), D(2013, 10, 27, 3, 30, tzinfo=berlin)]
else:
    alone = pytz.timezone("Europe/Paris")
    moments += [
        alone.localize(D(2014, 7, 1)),
        D(2014, 7, 1, tzinfo=pytz.FixedOffset(90)),
        D(2014, 7, 1, tzinfo=pytz.timezone("Etc/GMT+5")),
        D(2014, 7, 1, tzinfo=pytz.utc),
    ]
with open(sys.argv[1], "wb") as file:
    pickle.dump(
        {"moments": moments, "said": [m.isoformat() for m in moments], "zone": alone}, file, 2
    )
