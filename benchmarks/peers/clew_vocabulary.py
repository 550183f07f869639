"""clew's vocabulary alone, timed in a fresh process: what `clew train` does first. Loading compiled code is counted."""

from __future__ import annotations

import json
import sys
import time

from clew.text.words import WordVocabulary

cpu = time.process_time()
vocabulary = WordVocabulary.count([sys.argv[1]], min_count=int(sys.argv[2]))
print("RESULT " + json.dumps({"vocabulary_seconds": time.process_time() - cpu, "words": len(vocabulary)}))
