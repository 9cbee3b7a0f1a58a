"""The price of SET before every statement: small requests of Django's ORM, through veneer and directly in turn."""

import json
import os
import statistics
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import connections
from notes.models import Note

ROUNDS, REQUESTS = 30, 100


def spent(alias, pk):
    connections[alias].set_schema("north")
    began = time.perf_counter()
    for _ in range(REQUESTS):
        Note.objects.using(alias).values_list("tenant", flat=True).get(pk=pk)
    return (time.perf_counter() - began) / REQUESTS


connections["default"].set_schema("north")
pk = Note.objects.first().pk
times = {"default": [], "shard": []}
for alias in times:
    spent(alias, pk)
for _ in range(ROUNDS):
    for alias, taken in times.items():
        taken.append(spent(alias, pk))
print(json.dumps({alias: statistics.median(taken) for alias, taken in times.items()}))
