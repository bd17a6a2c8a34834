"""`python -m llmkit`, which launchers of several processes use."""

from llmkit.cli import main

if __name__ == "__main__":
    main()
