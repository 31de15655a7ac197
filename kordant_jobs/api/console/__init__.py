"""The operator's console under /console/: pages rendered on the server, which work without JavaScript.

app       the routes, signing in and out           visit      the reader, and how pages are rendered or refused
session   the cookie, and the codes of forms       live       notifies open pages of changes
words     states and causes in both languages      charts     lines over weeks as SVG

The other modules are the pages. Each calls the operations of the API under the same policy; actions that the policy
refuses are not offered.
"""

HOME = "/console/"
