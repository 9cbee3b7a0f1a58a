//! Each command of SQL: whom it touches, and what it does to the session.

use pg_query::protobuf::{DiscardMode, GrantTargetType, ObjectType as O, ReindexObjectType};

use super::Walk;
use super::calls::is_set_config;
use crate::sql::tree::{Node, Tree};
use crate::sql::{Access, Act, Frees, Keep, Keeps, Leaves, NameKind};

/// `CURSOR_OPT_HOLD` of PostgreSQL's sources.
const CURSOR_HOLD: i64 = 0x20;

impl<'t> Walk<'t> {
    /// Takes one whole statement.
    pub(super) fn command(&mut self, tree: &'t Tree) {
        let Some(node) = tree.node() else { return };
        if let Some(command) = shared_command(node) {
            self.raise(Access::Shared(command));
            self.fields(node);
            return;
        }
        match node.kind {
            "SelectStmt" => self.whole_select(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.node(node),
            "VariableSetStmt" => self.set(node),
            "VariableShowStmt" => self.act = Act::Show(node.text("name").to_ascii_lowercase()),
            "TransactionStmt" => self.transaction(node),
            // It names constraints, which the path finds; the transaction has bound its shard.
            "ConstraintsSetStmt" => {}
            "DiscardStmt" => self.discard(node.number("target")),
            "DeallocateStmt" => {
                let name = node.text("name");
                self.free_named(name, Keep::Prepared);
                self.act = Act::Deallocate((!name.is_empty()).then(|| name.to_owned()));
            }
            "PrepareStmt" => {
                self.act = Act::Prepare(node.text("name").to_owned());
                self.keep(Keep::Prepared);
                self.fields(node);
            }
            "ExecuteStmt" => self.node(node),
            "DeclareCursorStmt" => {
                // The transaction has something on its shard that cannot be said again.
                self.raise(Access::Read);
                self.foreign = true;
                if node.number("options") & CURSOR_HOLD != 0 {
                    self.keep(Keep::HoldCursor);
                    self.act = Act::Hold(node.text("portalname").to_owned());
                }
                self.fields(node);
            }
            "CopyStmt" => self.copy(node),
            "ExplainStmt" => {
                self.raise(Access::Read);
                self.fields(node);
            }
            "FetchStmt" => self.cursor(node.text("portalname")),
            "ClosePortalStmt" => self.close(node.text("portalname"), Keep::HoldCursor),
            "UnlistenStmt" => self.close(node.text("conditionname"), Keep::Listen),
            "ListenStmt" => {
                self.raise(Access::Read);
                self.keep(Keep::Listen);
            }
            "NotifyStmt" => self.raise(Access::Write),
            "LoadStmt" => {
                self.raise(Access::Write);
                self.keep(Keep::Library);
            }
            "DoStmt" => {
                self.raise(Access::Write);
                self.leave(Leaves::UNKNOWN);
            }
            "CallStmt" => {
                self.raise(Access::Write);
                self.leave(Leaves::UNKNOWN);
                self.fields(node);
            }
            "TruncateStmt" | "LockStmt" | "VacuumStmt" | "ClusterStmt" | "RefreshMatViewStmt" => {
                self.raise(Access::Write);
                self.fields(node);
            }
            "ReindexStmt" => self.reindex(node),
            _ => self.definition(node),
        }
    }

    /// A `set_config` in the list of a SELECT without any FROM runs once, and for certain.
    fn whole_select(&mut self, node: &'t Node) {
        let quiet = ["target_list", "limit_option", "op", "with_clause"];
        // A function beside it may return no rows at all.
        let certain = node.fields.iter().all(|(field, _)| quiet.contains(field))
            && node.list("target_list").iter().all(is_certain);
        let has_from = node.get("from_clause").is_some();
        if let Some(change) = self.set_if_known(node) {
            self.set_configs.push(change);
            self.visit_field(node, "from_clause");
            return;
        }
        self.in_scope(node, |walk| {
            for (field, tree) in node.fields.iter().filter(|(field, _)| *field != "with_clause") {
                if !(certain && *field == "target_list") {
                    walk.clause(field, tree, has_from);
                    continue;
                }
                for target in tree.items() {
                    match target.node().and_then(|target| target.child("val")) {
                        Some(call) if is_set_config(call) => walk.set_config(call, true),
                        _ => walk.visit(target),
                    }
                }
            }
        });
    }

    fn discard(&mut self, target: i64) {
        if target == DiscardMode::DiscardAll as i64 {
            self.act = Act::DiscardAll;
            self.frees = Frees::all(Keep::ALL.into_iter().collect());
        } else if target == DiscardMode::DiscardTemp as i64 {
            self.frees = Frees::all(Keeps::of(Keep::TempTable));
        } else if target == DiscardMode::DiscardSequences as i64 {
            self.frees = Frees::all(Keeps::of(Keep::Sequence));
        }
    }

    fn close(&mut self, name: &str, keep: Keep) {
        self.cursor(if keep == Keep::HoldCursor { name } else { "" });
        self.free_named(name, keep);
    }

    fn cursor(&mut self, name: &str) {
        self.raise(Access::Read);
        if !name.is_empty() {
            self.act = Act::Cursor(name.to_owned());
        }
    }

    /// CLOSE, DEALLOCATE and UNLISTEN: of one name, or of all.
    fn free_named(&mut self, name: &str, keep: Keep) {
        self.frees = if name.is_empty() { Frees::all(Keeps::of(keep)) } else { Frees::SOME };
    }

    fn copy(&mut self, node: &'t Node) {
        let outside = !node.text("filename").is_empty() || node.flag("is_program");
        if node.flag("is_from") || outside {
            self.raise(Access::Write);
        }
        if !outside {
            self.act = Act::Copy;
        }
        self.fields(node);
    }

    fn reindex(&mut self, node: &'t Node) {
        self.raise(Access::Write);
        if node.number("kind") == ReindexObjectType::ReindexObjectSchema as i64 {
            self.name(node.text("name"), NameKind::Other);
        }
        self.fields(node);
    }

    /// Everything that changes what a schema holds.
    fn definition(&mut self, node: &'t Node) {
        self.raise(Access::Define);
        self.foreign = true;
        match node.kind {
            "CreateSchemaStmt" => return self.create_schema(node),
            "DropStmt" => {
                self.frees = Frees::SOME;
                let kind = node.number("remove_type");
                if kind == O::ObjectSchema as i64 {
                    self.raise(Access::Lifecycle);
                }
                for object in node.list("objects") {
                    self.object(kind, object);
                }
            }
            "RenameStmt" if node.number("rename_type") == O::ObjectSchema as i64 => {
                self.raise(Access::Lifecycle);
                self.name(node.text("subname"), NameKind::Other);
                self.name(node.text("newname"), NameKind::Other);
            }
            "RenameStmt" => self.on_object(node, "rename_type"),
            "CommentStmt" | "SecLabelStmt" => self.on_object(node, "objtype"),
            "AlterOwnerStmt" | "AlterObjectDependsStmt" => self.on_object(node, "object_type"),
            "AlterObjectSchemaStmt" => {
                self.on_object(node, "object_type");
                self.name(node.text("newschema"), NameKind::Other);
            }
            "GrantStmt" => self.grant(node),
            "ImportForeignSchemaStmt" => self.name(node.text("local_schema"), NameKind::Other),
            _ => self.fields(node),
        }
        // A definition without a schema lands where the path says.
        let temporary = self.leaves.keeps.contains(Keep::TempTable);
        self.unqualified |= self.names.is_empty() && !temporary;
    }

    fn on_object(&mut self, node: &'t Node, kind_field: &str) {
        let kind = node.number(kind_field);
        for (field, tree) in &node.fields {
            if *field == "object" { self.object(kind, tree) } else { self.visit(tree) }
        }
    }

    fn create_schema(&mut self, node: &'t Node) {
        self.raise(Access::Lifecycle);
        let owner = node.child("authrole").map_or("", |role| role.text("rolename"));
        let schema = node.text("schemaname");
        // Without a name of its own it is called like its owner.
        self.name(if schema.is_empty() { owner } else { schema }, NameKind::Other);
        self.visit_field(node, "schema_elts");
        // What it makes inside goes into the new schema, whatever the path.
        self.unqualified = false;
    }

    fn grant(&mut self, node: &'t Node) {
        let kind = node.number("objtype");
        let whole_schemas = kind == O::ObjectSchema as i64
            || node.number("targtype") == GrantTargetType::AclTargetAllInSchema as i64;
        for object in node.list("objects") {
            match object.word().filter(|_| whole_schemas) {
                Some(schema) => self.name(schema, NameKind::Other),
                None => self.object(kind, object),
            }
        }
        if kind == O::ObjectSchema as i64 && self.names.iter().any(|name| name.schema == "public") {
            let grants = node.flag("is_grant");
            self.raise(Access::Shared(if grants { "GRANT ON SCHEMA" } else { "REVOKE ON SCHEMA" }));
        }
    }
}

fn is_certain(target: &Tree) -> bool {
    let is_constant = |value: &Node| matches!(value.kind, "AConst" | "ParamRef");
    // asyncpg asks for the value of a setting and changes it at once.
    let asks = |value: &Node| {
        let words = value.get("funcname").and_then(Tree::words).unwrap_or_default();
        let known = matches!(words[..], ["current_setting"] | ["pg_catalog", "current_setting"]);
        known && value.list("args").iter().filter_map(Tree::node).all(is_constant)
    };
    let value = target.node().and_then(|target| target.child("val"));
    value.is_some_and(|value| is_constant(value) || is_set_config(value) || asks(value))
}

/// The name of a command that changes what all shards share.
fn shared_command(node: &Node) -> Option<&'static str> {
    Some(match node.kind {
        "CreateRoleStmt" => "CREATE ROLE",
        "AlterRoleStmt" | "AlterRoleSetStmt" => "ALTER ROLE",
        "DropRoleStmt" => "DROP ROLE",
        "GrantRoleStmt" if node.flag("is_grant") => "GRANT",
        "GrantRoleStmt" => "REVOKE",
        "CreatedbStmt" => "CREATE DATABASE",
        "AlterDatabaseStmt" | "AlterDatabaseSetStmt" | "AlterDatabaseRefreshCollStmt" => {
            "ALTER DATABASE"
        }
        "DropdbStmt" => "DROP DATABASE",
        "CreateTableSpaceStmt" => "CREATE TABLESPACE",
        "AlterTableSpaceOptionsStmt" => "ALTER TABLESPACE",
        "AlterTableMoveAllStmt" => "ALTER … ALL IN TABLESPACE",
        "DropTableSpaceStmt" => "DROP TABLESPACE",
        "CreateExtensionStmt" => "CREATE EXTENSION",
        "AlterExtensionStmt" | "AlterExtensionContentsStmt" => "ALTER EXTENSION",
        "CreateFdwStmt" => "CREATE FOREIGN DATA WRAPPER",
        "AlterFdwStmt" => "ALTER FOREIGN DATA WRAPPER",
        "CreateForeignServerStmt" => "CREATE SERVER",
        "AlterForeignServerStmt" => "ALTER SERVER",
        "CreateUserMappingStmt" => "CREATE USER MAPPING",
        "AlterUserMappingStmt" => "ALTER USER MAPPING",
        "DropUserMappingStmt" => "DROP USER MAPPING",
        "CreateAmStmt" => "CREATE ACCESS METHOD",
        "CreateEventTrigStmt" => "CREATE EVENT TRIGGER",
        "AlterEventTrigStmt" => "ALTER EVENT TRIGGER",
        "CreatePLangStmt" => "CREATE LANGUAGE",
        "CreatePublicationStmt" => "CREATE PUBLICATION",
        "AlterPublicationStmt" => "ALTER PUBLICATION",
        "CreateSubscriptionStmt" => "CREATE SUBSCRIPTION",
        "AlterSubscriptionStmt" => "ALTER SUBSCRIPTION",
        "DropSubscriptionStmt" => "DROP SUBSCRIPTION",
        "AlterSystemStmt" => "ALTER SYSTEM",
        "AlterDefaultPrivilegesStmt" if !in_schemas(node) => "ALTER DEFAULT PRIVILEGES",
        "DropOwnedStmt" => "DROP OWNED",
        "ReassignOwnedStmt" => "REASSIGN OWNED",
        "CheckPointStmt" => "CHECKPOINT",
        "ReindexStmt" if reindexes_all(node) => "REINDEX DATABASE",
        "DropStmt" if is_shared(node.number("remove_type")) => "DROP",
        "RenameStmt" if is_shared(node.number("rename_type")) => "ALTER … RENAME",
        "CommentStmt" if is_shared(node.number("objtype")) => "COMMENT",
        "SecLabelStmt" if is_shared(node.number("objtype")) => "SECURITY LABEL",
        "AlterOwnerStmt" if is_shared(node.number("object_type")) => "ALTER … OWNER",
        "AlterObjectSchemaStmt" if is_shared(node.number("object_type")) => "ALTER EXTENSION",
        "GrantStmt" if is_shared(node.number("objtype")) => {
            if node.flag("is_grant") {
                "GRANT"
            } else {
                "REVOKE"
            }
        }
        _ => return None,
    })
}

fn in_schemas(node: &Node) -> bool {
    let mut options = node.list("options").iter().filter_map(Tree::node);
    options.any(|option| option.text("defname") == "schemas")
}

fn reindexes_all(node: &Node) -> bool {
    let kind = node.number("kind");
    kind == ReindexObjectType::ReindexObjectDatabase as i64
        || kind == ReindexObjectType::ReindexObjectSystem as i64
}

/// Kinds of objects that stand in no schema.
fn is_shared(object_type: i64) -> bool {
    const SHARED: [O; 14] = [
        O::ObjectAccessMethod,
        O::ObjectDatabase,
        O::ObjectEventTrigger,
        O::ObjectExtension,
        O::ObjectFdw,
        O::ObjectForeignServer,
        O::ObjectLanguage,
        O::ObjectParameterAcl,
        O::ObjectPublication,
        O::ObjectRole,
        O::ObjectSubscription,
        O::ObjectTablespace,
        O::ObjectUserMapping,
        O::ObjectTransform,
    ];
    SHARED.iter().any(|kind| *kind as i64 == object_type)
}
