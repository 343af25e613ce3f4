"""`python -m bbm` runs `bbm`."""

from bbm.main import app

if __name__ == "__main__":
    app(prog_name="bbm")
