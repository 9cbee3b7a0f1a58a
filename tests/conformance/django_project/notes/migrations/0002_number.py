from django.db import migrations, models


def label(apps, schema_editor):
    """Data in the same migration; it names the schema that it is in."""
    name = f"migrated in {schema_editor.connection.schema_name}"
    apps.get_model("notes", "Label").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]

    operations = [
        migrations.AddField("note", "number", models.IntegerField(default=0)),
        migrations.AddIndex("note", models.Index(fields=["tenant", "number"], name="notes_by_number")),
        migrations.RunPython(label, migrations.RunPython.noop),
    ]
