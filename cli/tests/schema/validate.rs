//! As much of JSON Schema (draft 2020-12) as portolan's schemas use; a keyword that is not known here is an error.
//!
//! Stricter than the standard in one thing: a key that the schema does not describe is a fault. Readers have to bear
//! unknown keys, but what this build writes is to be documented.

use serde_json::{Map, Value};

/// A schema document.
pub(crate) struct Schema<'a> {
    root: &'a Value,
}

impl<'a> Schema<'a> {
    /// The schema at the root of a document.
    pub(crate) fn new(root: &'a Value) -> Schema<'a> {
        Schema { root }
    }

    /// What is wrong with `document`, each with its place; empty if nothing is.
    pub(crate) fn faults(&self, document: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(self.root, document, "$", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(schema) = schema.as_object() else {
            assert_eq!(schema, &Value::Bool(true), "{at}: a schema is an object or `true`");
            return;
        };
        for (keyword, operand) in schema {
            match keyword.as_str() {
                // The last two are looked at with the keys of the object, below.
                "$schema"
                | "$id"
                | "$defs"
                | "title"
                | "description"
                | "properties"
                | "additionalProperties" => {}
                "$ref" => {
                    let pointer =
                        operand.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                    let target =
                        self.root.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there"));
                    self.check(target, value, at, faults);
                }
                "const" if value == operand => {}
                "const" => faults.push(format!("{at}: is not {operand}")),
                "enum" if operand.as_array().unwrap().contains(value) => {}
                "enum" => faults.push(format!("{at}: {value} is none of {operand}")),
                "type" => check_type(operand, value, at, faults),
                "minimum" if value.as_f64().is_none_or(|number| Some(number) >= operand.as_f64()) => {}
                "minimum" => faults.push(format!("{at}: {value} is less than {operand}")),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(operand, item, &format!("{at}[{index}]"), faults);
                    }
                }
                "required" => {
                    for key in operand.as_array().unwrap().iter().filter_map(Value::as_str) {
                        if value.get(key).is_none() {
                            faults.push(format!("{at}: `{key}` is missing"));
                        }
                    }
                }
                unknown => panic!("{at}: the validator does not know the keyword {unknown}"),
            }
        }
        if let Some(object) = value.as_object() {
            self.check_keys(schema, object, at, faults);
        }
    }

    fn check_keys(
        &self,
        schema: &Map<String, Value>,
        object: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        let described = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        if described.is_none() && others.is_none() {
            return;
        }
        for (key, value) in object {
            let inner = described.and_then(|properties| properties.get(key)).or(others);
            match inner {
                Some(inner) => self.check(inner, value, &format!("{at}.{key}"), faults),
                None => faults.push(format!("{at}: `{key}` is not in the schema")),
            }
        }
    }
}

fn check_type(operand: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type of JSON Schema"),
    };
    let names: Vec<&str> = match operand {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    if !names.iter().any(|name| is(name)) {
        faults.push(format!("{at}: is no {}", names.join(" or ")));
    }
}
