"""`make events`: write docs/events anew, and refuse to take back what was promised."""

from tests.wire.publishing import FOLDER, pages, publish

if __name__ == "__main__":
    publish(FOLDER, pages())
