from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Customer(TenantMixin):
    name = models.CharField(max_length=100)
    # The schemas are made beforehand and entered in veneer's directory.
    auto_create_schema = False


class Domain(DomainMixin):
    pass
