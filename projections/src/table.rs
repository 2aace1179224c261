//! The SQL of a projection's table, as constants: all tables are read, written and deleted from in the same way.

/// A [`Table`](crate::engine::Table) from its name and columns (but `tenant_id` and `key`, which every table has).
/// All of it rests on the primary key `(tenant_id, key)`.
macro_rules! table {
    ($name:literal: $first:literal $(, $column:literal)* $(,)?) => {
        $crate::engine::Table {
            name: $name,
            load: concat!(
                "SELECT r.tenant_id, r.key, to_json(r)::text FROM unnest($1::uuid[], $2::text[]) AS k (tenant_id, key) ",
                "JOIN ", $name, " r ON r.tenant_id = k.tenant_id AND r.key = k.key"
            ),
            store: concat!(
                "INSERT INTO ", $name, " (tenant_id, key, ", $first, $(", ", $column,)* ") ",
                "SELECT tenant_id, key, ", $first, $(", ", $column,)*
                " FROM json_populate_recordset(NULL::", $name, ", $rows::json) ",
                "ON CONFLICT (tenant_id, key) DO UPDATE SET ",
                $first, " = excluded.", $first, $(", ", $column, " = excluded.", $column,)*
            ),
            delete: concat!(
                "DELETE FROM ", $name, " r USING unnest($tenants::uuid[], $keys::text[]) AS k (tenant_id, key) ",
                "WHERE r.tenant_id = k.tenant_id AND r.key = k.key"
            ),
            analyze: concat!("ANALYZE ", $name),
        }
    };
}
pub(crate) use table;
