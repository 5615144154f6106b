"""`python -m leasebox` is `leasebox`."""

from leasebox.cli import main

if __name__ == "__main__":
    main(prog_name="leasebox")
