//! What PostgreSQL's own functions do to data and to the session.

use std::collections::HashSet;
use std::sync::LazyLock;

/// What a call of a function may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Computes from its arguments, the clock or the session; looks nothing up by name.
    Harmless,
    /// Reads what this backend or its shard has.
    Reads,
    /// Asks about objects.
    Catalogue,
    /// Changes data; leaves nothing in the backend.
    Writes,
    /// Tells what `nextval` gave this backend.
    AsksSequence,
    SetConfig,
    /// Takes a lock that outlives the transaction.
    Locks,
    /// Gives such locks back: one, or `all`.
    Unlocks {
        all: bool,
    },
    /// `setseed`.
    Seeds,
    /// Not one of PostgreSQL's that we know.
    Unknown,
}

const HARMLESS: &str = "\
abbrev abs acos acosd acosh age any_value area array_agg array_append array_cat array_dims \
array_fill array_length array_lower array_ndims array_position array_positions array_prepend \
array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_json \
array_to_string array_to_tsvector array_upper ascii asind asinh atan atan2 atan2d atand atanh avg \
bit bit_and bit_count bit_length bit_or bit_xor bool bool_and bool_or box bpchar broadcast btrim \
cardinality casefold cash_words cbrt ceil ceiling center char char_length character_length chr \
cidr circle clock_timestamp concat concat_ws convert convert_from convert_to corr cos cosd cosh \
cot cotd count covar_pop covar_samp crc32 crc32c cume_dist current_catalog current_database \
current_query current_role current_schema current_schemas current_setting current_user date \
date_add date_bin date_part date_subtract date_trunc datemultirange daterange daterange_canonical \
daterange_subdiff decode degrees dense_rank diagonal diameter div encode erf erfc every exp \
extract factorial family first_value float4 float4larger float4smaller float8 float8larger \
float8smaller floor format gamma gcd gen_random_uuid generate_series generate_subscripts get_bit \
get_byte get_current_ts_config getdatabaseencoding getpgusername grouping hashint4 hashint8 \
hashtext hashtextextended height host hostmask icu_unicode_version in_range inet_client_addr \
inet_client_port inet_merge inet_same_family inet_server_addr inet_server_port initcap int2 \
int2int4_sum int2larger int2smaller int4 int4larger int4multirange int4range int4range_canonical \
int4range_subdiff int4smaller int8 int8larger int8multirange int8range int8range_canonical \
int8range_subdiff int8smaller interval is_normalized isclosed isempty isfinite ishorizontal \
isopen isparallel isperp isvertical json_agg json_array_elements json_array_elements_text \
json_array_length json_build_array json_build_object json_each json_each_text json_extract_path \
json_extract_path_text json_object json_object_agg json_object_keys json_populate_record \
json_populate_recordset json_query json_scalar json_serialize json_strip_nulls json_to_record \
json_to_recordset json_to_tsvector json_typeof json_value jsonb_agg jsonb_array_elements \
jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_concat \
jsonb_contained jsonb_contains jsonb_delete jsonb_delete_path jsonb_each jsonb_each_text \
jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text \
jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists \
jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array \
jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz \
jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax \
jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof justify_days \
justify_hours justify_interval lag last_value lcm lead left length lgamma like like_escape line \
ln log log10 lower lower_inc lower_inf lpad lseg ltrim macaddr macaddr8 macaddr8_set7bit \
make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min min_scale \
mod mode money multirange mxid_age name netmask network network_larger network_smaller normalize \
notlike now npoints nth_value ntile num_nonnulls num_nulls numeric numeric_div_trunc numeric_exp \
numeric_ln numeric_log numeric_sqrt nummultirange numnode numrange numrange_subdiff octet_length \
oid oidlarger oidsmaller overlaps overlay parse_ident path percent_rank percentile_cont \
percentile_disc phraseto_tsquery pi plainto_tsquery point polygon position pow power quote_ident \
quote_literal quote_nullable radians radius random random_normal range_agg range_contains \
range_intersect range_intersect_agg range_merge range_minus range_union rank regexp_count \
regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array \
regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 \
regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number row_to_json \
rpad rtrim scale session_user set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512 \
sign similar_to_escape sind sinh slope split_part sqrt starts_with statement_timestamp stddev \
stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos substr substring \
sum tan tand tanh text textlen tidlarger tidsmaller time timeofday timestamp timestamptz timetz \
timezone to_ascii to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct to_timestamp \
to_tsquery to_tsvector transaction_timestamp translate trim_array trim_scale trunc ts_debug \
ts_delete ts_filter ts_headline ts_lexize ts_parse ts_rank ts_rank_cd ts_token_type \
tsmultirange tsrange tsrange_subdiff tstzmultirange tstzrange tstzrange_subdiff tsvector_to_array \
txid_snapshot_xmin unicode_assigned unicode_version unistr unnest upper upper_inc upper_inf user \
uuid_extract_timestamp uuid_extract_version uuid_in uuidv4 uuidv7 var_pop var_samp varbit varchar \
variance version websearch_to_tsquery width width_bucket xid xml xml_is_well_formed \
xml_is_well_formed_content xml_is_well_formed_document xmlagg xmlcomment xmlconcat2 xmlelement \
xmlexists xmlforest xmlparse xmlserialize xmlvalidate xpath xpath_exists";

const READS: &str = "pg_sleep pg_sleep_for pg_sleep_until pg_export_snapshot \
txid_current_if_assigned txid_current_snapshot txid_status txid_visible_in_snapshot lo_get";

const WRITES: &str = "nextval setval txid_current pg_current_xact_id pg_notify \
lo_close lo_creat lo_create lo_export lo_from_bytea lo_import lo_lseek lo_lseek64 lo_open lo_put \
lo_tell lo_tell64 lo_truncate lo_truncate64 lo_unlink loread lowrite \
pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock \
pg_try_advisory_xact_lock_shared pg_cancel_backend pg_terminate_backend pg_reload_conf \
pg_logical_emit_message pg_stat_reset pg_stat_reset_shared pg_stat_reset_single_table_counters \
pg_stat_reset_single_function_counters pg_stat_reset_slru pg_rotate_logfile pg_switch_wal \
pg_promote pg_create_restore_point pg_create_logical_replication_slot \
pg_create_physical_replication_slot pg_drop_replication_slot pg_replication_slot_advance \
pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_import_system_collations \
pg_wal_replay_pause pg_wal_replay_resume pg_backup_start pg_backup_stop pg_extension_config_dump \
pg_replication_origin_create pg_replication_origin_drop pg_replication_origin_advance \
pg_log_backend_memory_contexts brin_desummarize_range brin_summarize_new_values \
brin_summarize_range gin_clean_pending_list pg_restore_relation_stats pg_clear_relation_stats \
pg_restore_attribute_stats pg_clear_attribute_stats";

const LOCKS: &str = "pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock \
pg_try_advisory_lock_shared";

const UNLOCKS: &str = "pg_advisory_unlock pg_advisory_unlock_shared";

/// Those of the catalogue that do not begin with `pg_`.
const CATALOGUE: &str = "has_any_column_privilege has_column_privilege has_database_privilege \
has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege \
has_largeobject_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege \
has_server_privilege has_table_privilege has_tablespace_privilege has_type_privilege \
to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure \
to_regrole to_regtype to_regtypemod obj_description col_description shobj_description format_type \
row_security_active acldefault aclexplode makeaclitem enum_first enum_last enum_range \
regclass querytree";

/// These begin with `pg_` and yet ask about nothing.
const HARMLESS_PG: &str = "pg_backend_pid pg_client_encoding pg_typeof pg_column_size \
pg_size_bytes pg_size_pretty pg_current_logfile pg_trigger_depth pg_column_compression \
pg_char_to_encoding pg_encoding_to_char pg_encoding_max_length pg_conf_load_time \
pg_postmaster_start_time pg_my_temp_schema pg_jit_available";

/// The others of PostgreSQL 15 to 18 that begin so, all about objects. A function of a tenant's own may
/// begin with `pg_`, too, and is none of them.
const CATALOGUE_PG: &str = "\
pg_available_extension_versions pg_available_extensions pg_available_wal_summaries pg_basetype \
pg_blocking_pids pg_collation_actual_version pg_collation_for pg_collation_is_visible \
pg_column_is_updatable pg_column_toast_chunk_id pg_config pg_control_checkpoint pg_control_init \
pg_control_recovery pg_control_system pg_conversion_is_visible pg_copy_logical_replication_slot \
pg_copy_physical_replication_slot pg_current_snapshot pg_current_wal_flush_lsn \
pg_current_wal_insert_lsn pg_current_wal_lsn pg_current_xact_id_if_assigned pg_cursor \
pg_database_collation_actual_version pg_database_size pg_ddl_command_in pg_ddl_command_out \
pg_ddl_command_recv pg_ddl_command_send pg_dependencies_in pg_dependencies_out \
pg_dependencies_recv pg_dependencies_send pg_describe_object pg_event_trigger_ddl_commands \
pg_event_trigger_dropped_objects pg_event_trigger_table_rewrite_oid \
pg_event_trigger_table_rewrite_reason pg_extension_update_paths pg_filenode_relation \
pg_function_is_visible pg_get_acl pg_get_backend_memory_contexts pg_get_catalog_foreign_keys \
pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments \
pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody \
pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_loaded_modules \
pg_get_multixact_members pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef \
pg_get_publication_tables pg_get_replica_identity_index pg_get_replication_slots pg_get_ruledef \
pg_get_sequence_data pg_get_serial_sequence pg_get_shmem_allocations pg_get_statisticsobjdef \
pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef \
pg_get_userbyid pg_get_viewdef pg_get_wal_replay_pause_state pg_get_wal_resource_managers \
pg_get_wal_summarizer_state pg_has_role pg_hba_file_rules pg_ident_file_mappings \
pg_identify_object pg_identify_object_as_address pg_index_column_has_property \
pg_index_has_property pg_indexam_has_property pg_indexam_progress_phasename pg_indexes_size \
pg_input_error_info pg_input_is_valid pg_is_in_recovery pg_is_other_temp_schema \
pg_is_wal_replay_paused pg_isolation_test_session_is_blocked pg_last_committed_xact \
pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp \
pg_listening_channels pg_lock_status pg_logical_slot_peek_binary_changes \
pg_logical_slot_peek_changes pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir \
pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_tmpdir pg_ls_waldir pg_lsn pg_lsn_cmp pg_lsn_eq \
pg_lsn_ge pg_lsn_gt pg_lsn_hash pg_lsn_hash_extended pg_lsn_in pg_lsn_larger pg_lsn_le pg_lsn_lt \
pg_lsn_mi pg_lsn_mii pg_lsn_ne pg_lsn_out pg_lsn_pli pg_lsn_recv pg_lsn_send pg_lsn_smaller \
pg_mcv_list_in pg_mcv_list_items pg_mcv_list_out pg_mcv_list_recv pg_mcv_list_send \
pg_ndistinct_in pg_ndistinct_out pg_ndistinct_recv pg_ndistinct_send pg_nextoid pg_node_tree_in \
pg_node_tree_out pg_node_tree_recv pg_node_tree_send pg_notification_queue_usage \
pg_numa_available pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible \
pg_options_to_table pg_partition_ancestors pg_partition_root pg_partition_tree \
pg_prepared_statement pg_prepared_xact pg_read_binary_file pg_read_file pg_read_file_old \
pg_relation_filenode pg_relation_filepath pg_relation_is_publishable pg_relation_is_updatable \
pg_relation_size pg_replication_origin_oid pg_replication_origin_progress \
pg_replication_origin_session_is_setup pg_replication_origin_session_progress \
pg_replication_origin_session_reset pg_replication_origin_session_setup \
pg_replication_origin_xact_reset pg_replication_origin_xact_setup pg_rotate_logfile_old \
pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sequence_parameters \
pg_settings_get_flags pg_show_all_file_settings pg_show_all_settings \
pg_show_replication_origin_status pg_snapshot_in pg_snapshot_out pg_snapshot_recv \
pg_snapshot_send pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin pg_stat_clear_snapshot \
pg_stat_file pg_stat_force_next_flush pg_stat_get_activity pg_stat_get_analyze_count \
pg_stat_get_archiver pg_stat_get_autoanalyze_count pg_stat_get_autovacuum_count \
pg_stat_get_backend_activity pg_stat_get_backend_activity_start pg_stat_get_backend_client_addr \
pg_stat_get_backend_client_port pg_stat_get_backend_dbid pg_stat_get_backend_idset \
pg_stat_get_backend_io pg_stat_get_backend_pid pg_stat_get_backend_start \
pg_stat_get_backend_subxact pg_stat_get_backend_userid pg_stat_get_backend_wait_event \
pg_stat_get_backend_wait_event_type pg_stat_get_backend_wal pg_stat_get_backend_xact_start \
pg_stat_get_bgwriter_buf_written_checkpoints pg_stat_get_bgwriter_buf_written_clean \
pg_stat_get_bgwriter_maxwritten_clean pg_stat_get_bgwriter_requested_checkpoints \
pg_stat_get_bgwriter_stat_reset_time pg_stat_get_bgwriter_timed_checkpoints \
pg_stat_get_blocks_fetched pg_stat_get_blocks_hit pg_stat_get_buf_alloc \
pg_stat_get_buf_fsync_backend pg_stat_get_buf_written_backend pg_stat_get_checkpoint_sync_time \
pg_stat_get_checkpoint_write_time pg_stat_get_checkpointer_num_timed pg_stat_get_db_active_time \
pg_stat_get_db_blk_read_time pg_stat_get_db_blk_write_time pg_stat_get_db_blocks_fetched \
pg_stat_get_db_blocks_hit pg_stat_get_db_checksum_failures pg_stat_get_db_checksum_last_failure \
pg_stat_get_db_conflict_all pg_stat_get_db_conflict_bufferpin pg_stat_get_db_conflict_lock \
pg_stat_get_db_conflict_snapshot pg_stat_get_db_conflict_startup_deadlock \
pg_stat_get_db_conflict_tablespace pg_stat_get_db_deadlocks \
pg_stat_get_db_idle_in_transaction_time pg_stat_get_db_numbackends pg_stat_get_db_session_time \
pg_stat_get_db_sessions pg_stat_get_db_sessions_abandoned pg_stat_get_db_sessions_fatal \
pg_stat_get_db_sessions_killed pg_stat_get_db_stat_reset_time pg_stat_get_db_temp_bytes \
pg_stat_get_db_temp_files pg_stat_get_db_tuples_deleted pg_stat_get_db_tuples_fetched \
pg_stat_get_db_tuples_inserted pg_stat_get_db_tuples_returned pg_stat_get_db_tuples_updated \
pg_stat_get_db_xact_commit pg_stat_get_db_xact_rollback pg_stat_get_dead_tuples \
pg_stat_get_function_calls pg_stat_get_function_self_time pg_stat_get_function_total_time \
pg_stat_get_ins_since_vacuum pg_stat_get_io pg_stat_get_last_analyze_time \
pg_stat_get_last_autoanalyze_time pg_stat_get_last_autovacuum_time pg_stat_get_last_vacuum_time \
pg_stat_get_lastscan pg_stat_get_live_tuples pg_stat_get_mod_since_analyze pg_stat_get_numscans \
pg_stat_get_progress_info pg_stat_get_recovery_prefetch pg_stat_get_replication_slot \
pg_stat_get_slru pg_stat_get_snapshot_timestamp pg_stat_get_subscription \
pg_stat_get_subscription_stats pg_stat_get_total_vacuum_time pg_stat_get_tuples_deleted \
pg_stat_get_tuples_fetched pg_stat_get_tuples_hot_updated pg_stat_get_tuples_inserted \
pg_stat_get_tuples_returned pg_stat_get_tuples_updated pg_stat_get_vacuum_count pg_stat_get_wal \
pg_stat_get_wal_receiver pg_stat_get_wal_senders pg_stat_get_xact_blocks_fetched \
pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time \
pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted \
pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated \
pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_returned \
pg_stat_get_xact_tuples_updated pg_stat_have_stats pg_stat_reset_replication_slot \
pg_stat_reset_subscription_stats pg_statistics_obj_is_visible pg_stop_making_pinned_objects \
pg_table_is_visible pg_table_size pg_tablespace_databases pg_tablespace_location \
pg_tablespace_size pg_timezone_abbrevs pg_timezone_names pg_total_relation_size \
pg_ts_config_is_visible pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible \
pg_type_is_visible pg_visible_in_snapshot pg_wal_lsn_diff pg_wal_summary_contents \
pg_walfile_name pg_walfile_name_offset pg_xact_commit_timestamp pg_xact_commit_timestamp_origin \
pg_xact_status";

// Sets of names, so that the walk asks each call only once.
static KNOWN: LazyLock<[(HashSet<&'static str>, Effect); 9]> = LazyLock::new(|| {
    let set = |words: &'static str| words.split(' ').collect::<HashSet<_>>();
    [
        (set(HARMLESS).union(&set(HARMLESS_PG)).copied().collect(), Effect::Harmless),
        (set(READS), Effect::Reads),
        (set(WRITES), Effect::Writes),
        (set(LOCKS), Effect::Locks),
        (set(CATALOGUE).union(&set(CATALOGUE_PG)).copied().collect(), Effect::Catalogue),
        (set("currval lastval"), Effect::AsksSequence),
        (set(UNLOCKS), Effect::Unlocks { all: false }),
        (set("pg_advisory_unlock_all"), Effect::Unlocks { all: true }),
        (set("setseed"), Effect::Seeds),
    ]
});

/// The effect of a function of `pg_catalog`, or of one called without a schema.
pub fn effect(name: &str) -> Effect {
    if name == "set_config" {
        return Effect::SetConfig;
    }
    let known = KNOWN.iter().find(|(names, _)| names.contains(name));
    known.map_or(Effect::Unknown, |(_, effect)| *effect)
}
