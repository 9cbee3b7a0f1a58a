"""Two tenants of a Django project; run in order."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

import pytest
from customers.models import Customer, Domain
from django.core.management import call_command
from django.db import connection, connections, models, transaction
from django.db.utils import IntegrityError
from django.test import Client
from django_tenants.utils import schema_context, tenant_context
from notes.models import Label, Note

TENANTS = ["north", "south"]
ROUNDS = 50


def host(tenant):
    return f"{tenant}.example"


def request(tenant, path, **data):
    client = Client(SERVER_NAME=host(tenant))
    answer = (client.post(path, data) if data else client.get(path)).json()
    assert answer["tenant"] == tenant
    return answer


def test_migrate_schemas():
    call_command("migrate_schemas", "--shared", verbosity=0)
    for tenant in TENANTS:
        customer = Customer.objects.create(schema_name=tenant, name=tenant.title())
        Domain.objects.create(domain=host(tenant), tenant=customer, is_primary=True)
    call_command("migrate_schemas", "--tenant", verbosity=0)
    for tenant in TENANTS:
        with schema_context(tenant):
            tables = connection.introspection.table_names()
            assert {"notes_note", "notes_label", "auth_user", "django_migrations"} <= set(tables)
            assert "customers_customer" not in tables
            # The second migration has left a row that names its schema.
            assert [label.name for label in Label.objects.all()] == [f"migrated in {tenant}"]


def test_migrate_schemas_again():
    call_command("migrate_schemas", verbosity=0)
    for tenant in TENANTS:
        with schema_context(tenant):
            assert Label.objects.count() == 1


def test_migrating_one_back_and_forth():
    call_command("migrate_schemas", "notes", "0001", schema_name="north", verbosity=0)
    with schema_context("north"):
        columns = [row.name for row in connection.introspection.get_table_description(connection.cursor(), "notes_note")]
        assert "number" not in columns
    with schema_context("south"):
        columns = [row.name for row in connection.introspection.get_table_description(connection.cursor(), "notes_note")]
        assert "number" in columns
    call_command("migrate_schemas", schema_name="north", verbosity=0)


def test_requests_in_turn():
    for number in range(ROUNDS):
        for tenant in TENANTS:
            request(tenant, "/write/", text=f"{tenant} {number}")
            request(tenant, "/regret/")
    for tenant in TENANTS:
        rows = request(tenant, "/read/")["rows"]
        assert rows == [[tenant, f"{tenant} {number}", f"of {tenant}"] for number in range(ROUNDS)]


def test_requests_at_once():
    failures = []

    def work(number):
        tenant = TENANTS[number % 2]
        try:
            for turn in range(10):
                request(tenant, "/write/", text=f"{number} {turn}")
                for row in request(tenant, "/read/")["rows"]:
                    assert row[0] == tenant and row[2] == f"of {tenant}", row
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_two_tenants_in_turn_on_one_connection():
    with ThreadPoolExecutor(1) as one:
        for number in range(ROUNDS):
            for tenant in TENANTS:
                with schema_context(tenant):
                    assert set(Note.objects.values_list("tenant", flat=True)) == {tenant}
        assert one.submit(lambda: True).result()


def test_savepoints_and_a_failure_inside():
    with schema_context("south"), transaction.atomic():
        before = Note.objects.count()
        Note.objects.create(tenant="south", text="kept")
        with pytest.raises(IntegrityError), transaction.atomic():
            Label.objects.create(name="twice")
            Label.objects.create(name="twice")
        Note.objects.create(tenant="south", text="kept too")
        assert Note.objects.count() == before + 2
        assert not Label.objects.filter(name="twice").exists()


def test_a_cursor_on_the_server():
    with schema_context("north"):
        Note.objects.bulk_create(Note(tenant="north", text="many", number=n) for n in range(1000))
        with transaction.atomic():
            numbers = [note.number for note in Note.objects.filter(text="many").order_by("number").iterator(chunk_size=500)]
        assert numbers == list(range(1000))
        # Outside of a transaction Django declares it WITH HOLD.
        numbers = 0
        for note in Note.objects.filter(text="many").iterator(chunk_size=500):
            with schema_context("south"):
                assert Label.objects.filter(name="migrated in south").exists()
            numbers += 1
        assert numbers == 1000


def test_the_rest_of_the_orm():
    with schema_context("north"):
        found = Note.objects.filter(text="many").aggregate(models.Sum("number"), models.Avg("number"))
        assert found == {"number__sum": 499500, "number__avg": 499.5}
        assert Note.objects.filter(text="many", number__lt=10).update(number=models.F("number") + 10000) == 10
        with transaction.atomic():
            locked = Note.objects.select_for_update().filter(number__gte=10000).order_by("number")
            assert [note.number for note in locked] == list(range(10000, 10010))
        assert Note.objects.filter(about__by="north").exists()
        assert Note.objects.filter(text="many").delete()[0] == 1000
        Label.objects.bulk_create(
            [Label(name="of north"), Label(name="new")], update_conflicts=True, update_fields=["name"], unique_fields=["name"],
        )
        assert Label.objects.filter(name__in=["of north", "new"]).count() == 2


def test_three_thousand_rows_in_one_statement():
    with schema_context("south"):
        Note.objects.bulk_create(Note(tenant="south", text="bulk", number=n) for n in range(3000))
        assert Note.objects.filter(text="bulk").count() == 3000


def test_tenants_are_found_in_public_while_a_tenant_is_set():
    for tenant in TENANTS:
        with tenant_context(Customer.objects.get(schema_name=tenant)):
            assert Note.objects.exists()
            # An unqualified name of a table of `public`, on a path that begins with a tenant.
            assert set(Customer.objects.values_list("schema_name", flat=True)) == set(TENANTS)


def test_a_tenant_joined_with_public():
    with schema_context("south"), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM notes_note JOIN customers_customer ON schema_name = tenant")
        assert cursor.fetchone() == (True,)
