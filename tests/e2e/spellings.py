"""Spellings of a path, and what the shipped proxy configurations take them for."""

from __future__ import annotations

EXEMPT = {"/healthz", "/healthz?x=1"}  # with just this spelling
# What a proxy or a platform may take for /healthz or a path below /admin.
SPELLINGS = r"""
    /healthz /healthz?x=1 /healthz/ //healthz /./healthz /x/../healthz /admin/../healthz /admin/..%2fhealthz
    /admin/..%2Fhealthz?action=pay /admin/%2e%2e/healthz /admin/%2E%2E%2Fhealthz /%68ealthz /%2568ealthz
    /healthz%20 /healthz%00 /HEALTHZ /Healthz /healthz;v=1 /;v=1/healthz /healthz;/../admin /healthz/../admin
    /healthz%2f..%2fadmin /healthz/..;/admin /healthz#x /healthz%23 /healthz%3fx /healthz\..\admin /\healthz
    /healthz%5c..%5cadmin /healthz.json /healthzz http://x/healthz/ http://x/admin/..%2fhealthz
"""
ABOVE = "/../billing/pay?x=1"  # to which nginx says 400
# The component that each file shows at /billing: what counts as it, and what the platform gets.
BILLING = {
    "/billing": "/billing",
    "/billing/": "/billing/",
    "/billing?x=1": "/billing?x=1",
    "/billing/pay?next=%2F&y=/../": "/billing/pay?next=%2F&y=/../",
    "//billing/pay": "/billing/pay",
    "/billing//pay": "/billing/pay",
    "/./billing": "/billing",
    "/billing/./pay": "/billing/pay",
    "/x/../billing/": "/billing/",
    "/x/y/../../billing": "/billing",
    ABOVE: "/billing/pay?x=1",
    "/billing/../billing/pay": "/billing/pay",
    "/%62illing": "/billing",
    "/%62%69%6c%6C%69%6E%67/pay": "/billing/pay",
    "/billing%2Fx": "/billing/x",
    "/billing%2fx": "/billing/x",
    "/%2fbilling": "/billing",
    "/x%2F..%2Fbilling/pay": "/billing/pay",
    "/x/%2e%2E/billing": "/billing",
    "/x/.%2e/billing": "/billing",
    "/%2e/billing": "/billing",
    "/billing/%41": "/billing/A",
    "/billing/a%20b": "/billing/a%20b",
    "/billing/a%3Fb": "/billing/a%3Fb",
    "/billing/x//%23": "/billing/x/%23",
    "/billing/%2562": "/billing/%2562",
    "/billing/%252e%252e/orders": "/billing/%252e%252e/orders",
    "http://platform.example:8443/billing/pay": "/billing/pay",
}
# What does not, and what the platform gets: a path that climbs as it was compared, any other as it was sent.
NOT_BILLING = {
    "/billingx": "/billingx",
    "/billing%0a": "/billing%0a",
    "/billing.json": "/billing.json",
    "/billing-old/pay": "/billing-old/pay",
    "/x/billing": "/x/billing",
    "/orders?/billing": "/orders?/billing",
    "/?/../billing": "/?/../billing",
    "/%2562illing": "/%2562illing",
    "/billing%252Fpay": "/billing%252Fpay",
    "/Billing": "/Billing",
    "/billing;x": "/billing;x",
    "/a%2Fb//c/./d": "/a%2Fb//c/./d",
    "/a..b%2Fc...": "/a..b%2Fc...",
    "/billing/../orders?x=1": "/orders?x=1",
    "/billing/..%2Forders": "/orders",
    "/billing%2f%2e%2E%2forders": "/orders",
    "/billing/..": "/",
    "/billing/../healthz": "/healthz",
}
