"""What a request does; the middleware has chosen the tenant by the host's name."""

from django.db import transaction
from django.http import JsonResponse

from .models import Label, Note


def write(request):
    tenant = request.tenant.schema_name
    with transaction.atomic():
        note = Note.objects.create(tenant=tenant, text=request.POST["text"], about={"by": tenant})
        label, _ = Label.objects.get_or_create(name=f"of {tenant}")
        note.labels.add(label)
    return JsonResponse({"tenant": tenant, "id": note.pk})


def read(request):
    notes = Note.objects.prefetch_related("labels").order_by("pk")
    rows = [[note.tenant, note.text, *(label.name for label in note.labels.all())] for note in notes]
    return JsonResponse({"tenant": request.tenant.schema_name, "rows": rows})


class Regret(Exception):
    pass


def regret(request):
    """Writes, and takes it back."""
    try:
        with transaction.atomic():
            Note.objects.create(tenant=request.tenant.schema_name, text="regretted")
            raise Regret
    except Regret:
        return JsonResponse({"tenant": request.tenant.schema_name})
