"""A project as django-tenants wants it; `public` is on home, and each tenant on a shard of its own."""

import os


def database(port):
    return {
        "ENGINE": "django_tenants.postgresql_backend",
        "HOST": os.environ["PGHOST"],
        "PORT": port,
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "NAME": os.environ["PGDATABASE"],
    }


DATABASES = {"default": database(os.environ["PGPORT"])}
# Only for the measurement: a tenant's shard itself.
if "SHARD_PORT" in os.environ:
    DATABASES["shard"] = database(os.environ["SHARD_PORT"])
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SECRET_KEY = "of no use to anybody"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SHARED_APPS = ["django_tenants", "customers", "django.contrib.contenttypes"]
TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "notes"]
INSTALLED_APPS = list(dict.fromkeys(SHARED_APPS + TENANT_APPS))
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]
ROOT_URLCONF = "notes.urls"
TENANT_LIMIT_SET_CALLS = os.environ.get("SET_ONCE") == "yes"
