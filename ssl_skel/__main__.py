"""``python -m ssl_skel`` is ``ssl-skel``."""

from ssl_skel.cli.main import main

if __name__ == "__main__":
    main()
