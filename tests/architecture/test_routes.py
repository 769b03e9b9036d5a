"""Every route says who may call it."""

from portal.web.access import access_of


def test_every_route_is_marked(web_app):
    unmarked = [
        rule.rule
        for rule in web_app.url_map.iter_rules()
        if access_of(web_app.view_functions[rule.endpoint]) is None
    ]

    assert unmarked == []


def test_get_routes_take_no_unsafe_method(web_app):
    mixed = [
        rule.rule
        for rule in web_app.url_map.iter_rules()
        if rule.methods and "GET" in rule.methods and rule.methods & {"PUT", "PATCH", "DELETE"}
    ]

    assert mixed == []
