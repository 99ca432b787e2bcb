"""``python -m devstack.demo``"""

import sys

from devstack.demo.run import main

if __name__ == "__main__":
    sys.exit(main())
