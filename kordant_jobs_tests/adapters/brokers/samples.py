"""Broker lists in each known form, invented."""

from __future__ import annotations

import json

ERASER = b"""brokers:
    - id: spoken
      name: Spoken
      email: privacy@spoken.com
      website: https://www.spoken.com
      opt_out_url: https://www.spoken.com/optout
      region: us
      category: people-search
    - id: ixio
      name: Ixio
      email: privacy@ixio.com
      website: https://ixio.com
      opt_out_url: https://www.spoken.com/optout/
      region: us
      category: people-search
    - name: No id
"""
CALIFORNIA_OLD = (
    b'"Data Broker Name","Email Address","Website URL","Physical Address","How a consumer may opt out of sale or submit'
    b' requests under CCPA","How a protected individual can demand deletion","Additional","Date Added"\n'
    b'"Spoken, Inc.","privacy [at] spoken.com","http://www.spoken.com","1 Road","Go to https://www.spoken.com/optout, '
    b'or call","","","01/29/2020"\n'
    b'"Gone LLC","hi [at] gone.com","gone.com","","","","","01/30/2020"\n'
)
_HEADERS = [
    "Data broker name", "Doing Business As (DBA)", "Business website", "Public contact email address", "Phone number",
    "Street", "City", "State", "ZIP code", "Country",
    "Website link where consumers can exercise their CCPA rights, how to delete included",
    *(f"Collects {n}" for n in range(11)), *(f"Shared with {n}" for n in range(5)),
    *(f"Regulated by {law} {n}" for law in ("FCRA", "GLBA", "IIPPA", "CMIA") for n in range(5)),
    *(f"Metric {n}" for n in range(29)), "Comments",
]  # fmt: skip
CALIFORNIA_NEW = (
    ",".join(f'"{name}"' for name in _HEADERS)
    + "\n"
    + ",".join(
        f'"{value}"'
        for value in ["Spoken, Inc.", "Spoken", "https://www.spoken.com", "rights@spoken.com", "", "", "", "", "", "",
                      "https://www.spoken.com/rights", *[""] * 66]
    )
    + "\n"
    + ",".join(
        f'"{value}"' for value in ["New LLC", "", "new-broker.com", "p@new-broker.com", *[""] * 6, "", *[""] * 66]
    )
    + "\n"
).encode()  # fmt: skip
_PUBLISHED = (
    "Data broker\N{NO-BREAK SPACE}name:", "Doing Business As (DBA), if applicable:", "Data broker primary website:",
    "Data broker primary contact email address:",
    "Data broker's primary website that contains details on how consumers can exercise their CA Consumer Privacy Act "
    "rights, including how to delete their personal information:",
    "The data broker or any of its subsidiaries is regulated by the federal Fair Credit Reporting Act (FCRA):",
)  # fmt: skip
_ROW = ("Spoken, Inc.", "Spoken", "https://www.spoken.com", "rights@spoken.com", "https://www.spoken.com/rights", "Yes")
CALIFORNIA_PUBLISHED = "\n".join(
    ",".join(f'"{cell}"' for cell in cells)
    for cells in (("", "notes of the registry", "", "", "", ""), _PUBLISHED, _ROW)
).encode()
"""As the registry names its columns since 2025, below a row of notes."""
CALIFORNIA_2024 = (
    b'"Business name","Doing Business As (DBA), if applicable [optional]","Business primary website",'
    b'"Business primary contact email address","Business primary phone number [optional]"\n'
    b'"Spoken, Inc.","","spoken.com","rights@spoken.com",""\n'
)
LINKS = (
    b"order_original,company_name,hostname_original,url_original,url_checked,url_final,status,"
    b"other_company_names_that_use_url_original\n"
    b"1,Big Six Inc.,www.bigsix.com,https://www.bigsix.com/privacy/my,https://www.bigsix.com/privacy/my,"
    b"https://www.bigsix.com/privacy/my,success,Two LLC; Three LLC; Four LLC; Five LLC; Six LLC\n"
    b"2,Dead Inc.,www.dead.com,https://www.dead.com/optout,https://dead.com/optout,https://dead.com/optout,error,\n"
)
JUSTVANISH = b"""organization_name: Spoken Inc
website: https://www.spoken.com/privacy
contact:
    email:
        - address: legal@spoken.com
          usage: [delete.ccpa]
    form: []
organization_type: [databroker]
regulation: [ccpa]
---
organization_name: Other Inc
website: https://other-broker.com
contact: {}
"""
DATENANFRAGEN = b'{"slug":"spoken","name":"Spoken","web":"https://spoken.com","email":"eu@spoken.com"}\n{"slug":1\n'
DUCKDUCKGO = json.dumps(
    {
        "ixio.com": {
            "name": "Ixio",
            "url": "ixio.com",
            "parent": "spoken.com",
            "steps": [
                {
                    "stepType": "scan",
                    "actions": [
                        {"actionType": "navigate", "url": "https://ixio.com/n/${firstName|downcase}-${lastName}"},
                        {"actionType": "extract", "selector": ".card", "profile": {"name": {"selector": ".n"}}},
                    ],
                }
            ],
        }
    }
).encode()
FRONTS = b"spoken:\n  - ixio\n"
