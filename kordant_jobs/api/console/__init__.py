"""The operator's console under /console/: pages made on the server, which work without JavaScript.

app       the routes, signing in and out           visit      who is there, how a page is written and refused
session   the cookie, and the codes of forms       live       what tells an open page that something has changed
words     states and causes in both languages      charts     lines over weeks as SVG

The other modules hold the pages. Each calls the operations that the API has; what the policy refuses there is refused
here, and is not offered.
"""

HOME = "/console/"
