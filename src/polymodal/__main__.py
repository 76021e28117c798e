"""`python -m polymodal`, so that torchrun can start a run."""

from polymodal.cli import main

if __name__ == "__main__":
    main()
