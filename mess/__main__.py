"""`python -m mess`."""

from mess.cli import main

if __name__ == "__main__":
    main()
