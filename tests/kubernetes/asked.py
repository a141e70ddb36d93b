#!/usr/bin/env python3
"""asked.py PROMETHEUS RULES DASHBOARD INSTANCE ALERT...: a Prometheus has loaded these rules, evaluates each of their expressions and of the
dashboard's queries without an error, has data for all of the dashboard, and has these alerts firing, and no others.
"""
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

SECONDS = 40  # for what takes some scrapes


def ask(base, path, **query):
    try:
        with urllib.request.urlopen(f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as r:
            return json.load(r)["data"]
    except urllib.error.HTTPError as e:
        sys.exit(f"{query}: {e.read().decode()}")


def within(what, look):
    """What look() finds missing, until it is nothing."""
    end = time.monotonic() + SECONDS
    missing = look()
    while missing and time.monotonic() < end:
        time.sleep(0.5)
        missing = look()
    if missing:
        print(f"{what}: {missing}")
    return not missing


def queries(path):
    with open(path) as f:
        board = json.load(f)
    for p in board["panels"]:
        for t in p["targets"]:
            yield f"{p['title']} {t['refId']}", t["expr"]
    for name, query in [(a["name"], a["expr"]) for a in board["annotations"]["list"]]:
        yield f"(annotation) {name}", query


def no_data(base, path):
    missing = []
    for title, query in queries(path):
        for name, value in (("$__rate_interval", "30s"), ("$__range", "1m"), ("$instance", ".*")):
            query = query.replace(name, value)
        found = [r for r in ask(base, "query", query=query)["result"] if r["value"][1] != "NaN"]
        if not found and not title.startswith("(annotation)"):
            missing.append(f"{title}: {query}")
    return missing


def bad_rules(base, alerts):
    rules = {r["name"]: r for g in ask(base, "rules")["groups"] for r in g["rules"]}
    bad = [f"{a} is not loaded" for a in alerts if a not in rules]
    return bad + [f"{n}: {r['health']} {r.get('lastError', '')}" for n, r in rules.items() if r["health"] != "ok"]


def not_firing(base, wanted):
    firing = {a["labels"]["alertname"] for a in ask(base, "alerts")["alerts"] if a["state"] == "firing"}
    return [f"{a} does not fire" for a in sorted(wanted - firing)] + [f"{a} fires" for a in sorted(firing - wanted)]


def texts(base, instance):
    for a in ask(base, "alerts")["alerts"]:
        said = a["annotations"]
        if any("error expanding" in t or "<no value>" in t or not t for t in said.values()):
            yield f"{a['labels']['alertname']}: {said}"
        if a["labels"]["alertname"] != "EntrepotDown" and a["labels"].get("instance") != instance:
            yield f"{a['labels']}: of which node?"


def main(base, rules, board, instance, *wanted):
    with open(rules) as f:
        alerts = {r["alert"]: r["expr"] for g in yaml.safe_load(f)["groups"] for r in g["rules"]}
    ok = within("rules", lambda: bad_rules(base, alerts))
    for expr in alerts.values():
        ask(base, "query", query=expr)
    ok = within("no data", lambda: no_data(base, board)) and ok
    nodes = ask(base, "label/instance/values", **{"match[]": 'entrepot_build_info{job="entrepot"}'})
    if nodes != [instance]:
        ok = print(f"the list of nodes is {nodes}")
    ok = within("alerts", lambda: not_firing(base, set(wanted))) and ok
    for bad in texts(base, instance):
        ok = print(bad)
    for a in ask(base, "alerts")["alerts"]:
        print(f"{a['state']} {a['labels']['alertname']}: {a['annotations']['summary']}")
    print(f"{len(alerts)} alerts, {len(list(queries(board)))} queries")
    return ok


sys.exit(0 if main(*sys.argv[1:]) else 1)
