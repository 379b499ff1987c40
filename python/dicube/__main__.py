"""`python -m dicube` is the `dicube` command."""

import sys

from dicube.cli import main

sys.exit(main())
