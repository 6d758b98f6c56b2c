from . import main

if __name__ == "__main__":  # the processes that speak import this file again
    raise SystemExit(main())
