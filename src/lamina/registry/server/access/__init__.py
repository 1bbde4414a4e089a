"""Who may do what, how often and how much: logins, tokens, rules, limits, and the file that says so (CONFIG.md).

`Live` is what the HTTP part holds: it fits `admission` and stays current while files change.
"""
