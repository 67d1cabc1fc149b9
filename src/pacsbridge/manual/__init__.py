"""The manual: pages of Markdown whose tables are those of the code, for command line and web."""

from pacsbridge.manual.book import pages as pages
from pacsbridge.manual.page import Page as Page
