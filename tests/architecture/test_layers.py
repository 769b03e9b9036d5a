"""Imports point down, domains point left, equals do not see each other."""

from tests.architecture.source import DOMAINS, ROOT, group_of, imports_of, layer_of, modules


def test_every_module_belongs_to_a_layer():
    homeless = [
        module.place for module in modules() if module.name != "portal" and layer_of(module.name) is None
    ]

    assert homeless == []


def test_imports_point_down():
    wrong = []
    for module in modules():
        rank = layer_of(module.name)
        for target in imports_of(module):
            target_rank = layer_of(target)
            if rank is None or target_rank is None or group_of(module.name) == group_of(target):
                continue
            if target_rank >= rank:
                wrong.append(f"{module.place} imports {target}")

    assert wrong == []


def test_domains_import_only_leftwards():
    wrong = []
    for module in modules():
        if not module.name.startswith("portal.domain."):
            continue
        own = module.name.split(".")[2]
        assert own in DOMAINS, own
        for target in imports_of(module):
            if target.startswith("portal.domain."):
                other = target.split(".")[2]
                if other != own and DOMAINS.index(other) > DOMAINS.index(own):
                    wrong.append(f"{module.place} imports {target}")

    assert wrong == []


def test_the_sandbox_and_the_horizon_adapter_share_nothing():
    for module in modules():
        targets = imports_of(module)
        if module.name.startswith("portal.sandbox"):
            assert not {name for name in targets if name.startswith("portal.adapters")}, module.place
        if module.name.startswith("portal.adapters.horizon"):
            assert not {name for name in targets if name.startswith("portal.sandbox")}, module.place


def test_the_kernel_knows_neither_flask_nor_sqlalchemy():
    for module in modules():
        if module.name.startswith("portal.kernel"):
            assert "import flask" not in module.text and "from flask" not in module.text, module.place
            assert "sqlalchemy" not in module.text.replace("SQLAlchemy", ""), module.place


def test_the_package_itself_is_empty():
    assert (ROOT / "portal" / "__init__.py").read_text() == ""


def test_every_table_is_known_to_alembic_and_the_factory():
    listed = (ROOT / "portal" / "models.py").read_text()
    declared = sorted(path.parent.name for path in (ROOT / "portal" / "domain").glob("*/models.py"))

    assert [name for name in declared if f"portal.domain.{name} import models" not in listed] == []
