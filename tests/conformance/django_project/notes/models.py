from django.db import models


class Label(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Note(models.Model):
    # The tenant that has written it: whoever reads another's sees it.
    tenant = models.CharField(max_length=63)
    text = models.TextField()
    number = models.IntegerField(default=0)
    written = models.DateTimeField(auto_now_add=True)
    labels = models.ManyToManyField(Label)
    about = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["tenant", "number"], name="notes_by_number")]
