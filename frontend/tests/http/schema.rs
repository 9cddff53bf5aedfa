//! Holds values against the schemas of an OpenAPI document, more strictly than JSON Schema does: a member that its schema
//! does not name is a mistake, unless the schema says that any may come, and so is a keyword that is not understood here.
//!
//! Must not know what the document describes.

use serde_json::{Map, Value};

/// A document whose references all lead into itself.
#[derive(Debug)]
pub struct Document(pub Value);

impl Document {
    /// The node, or what it refers to.
    pub fn resolved<'a>(&'a self, node: &'a Value) -> &'a Value {
        let Some(reference) = node["$ref"].as_str() else { return node };
        let target = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
        target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// A schema by its name.
    pub fn schema(&self, name: &str) -> &Value {
        let schema = &self.0["components"]["schemas"][name];
        assert!(schema.is_object(), "there is no schema {name}");
        schema
    }

    /// What is wrong with `value`.
    pub fn mistakes(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut mistakes = Vec::new();
        self.check(schema, value, "", &mut mistakes);
        mistakes
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, mistakes: &mut Vec<String>) {
        let Value::Object(keywords) = schema else {
            return mistakes.push(format!("{at}: {schema} is no schema"));
        };
        for (keyword, argument) in keywords {
            let holds = match &**keyword {
                "$ref" => {
                    self.check(self.resolved(schema), value, at, mistakes);
                    true
                }
                "properties" => {
                    for (name, schema) in argument.as_object().expect("properties are an object") {
                        if let Some(member) = value.get(name) {
                            self.check(schema, member, &format!("{at}/{name}"), mistakes);
                        }
                    }
                    true
                }
                "items" => {
                    for (n, one) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(argument, one, &format!("{at}/{n}"), mistakes);
                    }
                    true
                }
                "oneOf" => {
                    let tried = list(argument).iter().map(|schema| self.mistakes(schema, value));
                    tried.filter(Vec::is_empty).count() == 1
                }
                "type" => match argument {
                    Value::Array(types) => types.iter().any(|one| is_of(one, value)),
                    one => is_of(one, value),
                },
                "required" => {
                    let is_there = |name: &Value| value.get(name.as_str().unwrap_or_default()).is_some();
                    !value.is_object() || list(argument).iter().all(is_there)
                }
                "enum" => list(argument).contains(value),
                "const" => argument == value,
                // Of another type a value has no such bound.
                "minimum" => value.as_f64().is_none_or(|number| number >= bound(argument)),
                "maximum" => value.as_f64().is_none_or(|number| number <= bound(argument)),
                "minLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 >= bound(argument)),
                "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 <= bound(argument)),
                "minItems" => value.as_array().is_none_or(|array| array.len() as f64 >= bound(argument)),
                "maxItems" => value.as_array().is_none_or(|array| array.len() as f64 <= bound(argument)),
                "minProperties" => value.as_object().is_none_or(|object| object.len() as f64 >= bound(argument)),
                "additionalProperties" => argument.is_boolean(),
                "description" | "format" | "default" | "examples" => true,
                _ => false,
            };
            if !holds {
                mistakes.push(format!("{at}: {keyword} {argument} does not hold, or is not understood, of {value}"));
            }
        }
        if let Value::Object(members) = value {
            mistakes.extend(unnamed(keywords, members).map(|name| format!("{at}: {name} is not in the schema")));
        }
    }
}

/// The members that no property is named after.
fn unnamed<'a>(keywords: &Map<String, Value>, members: &'a Map<String, Value>) -> impl Iterator<Item = &'a String> {
    let elsewhere = keywords.contains_key("$ref") || keywords.contains_key("oneOf");
    let open = elsewhere || keywords.get("additionalProperties") == Some(&Value::Bool(true));
    let properties = keywords.get("properties").cloned().unwrap_or_default();
    members.keys().filter(move |name| !open && properties.get(name.as_str()).is_none())
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type is a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

fn list(argument: &Value) -> &Vec<Value> {
    argument.as_array().expect("a list")
}

fn bound(argument: &Value) -> f64 {
    argument.as_f64().expect("a number")
}

#[test]
fn a_value_of_another_form_is_a_mistake() {
    let document = Document(serde_json::json!({"components": {"schemas": {
        "Line": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
        "Order": {
            "type": "object",
            "properties": {
                "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Line"}},
                "next": {"type": ["string", "null"]},
                "what": {"oneOf": [{"const": "put"}, {"$ref": "#/components/schemas/Line"}]},
            },
            "required": ["lines"],
        },
        "Strange": {"type": "object", "multipleOf": 7},
    }}}));
    let mistakes = |name: &str, text: &str| {
        document.mistakes(document.schema(name), &serde_json::from_str(text).unwrap()).join("; ")
    };
    for right in [r#"{"lines": [{"n": 1}, {"n": 2}], "next": null}"#, r#"{"lines": [{"n": 1}], "what": {"n": 3}}"#] {
        assert_eq!(mistakes("Order", right), "");
    }
    for (wrong, why) in [
        ("[]", ": type \"object\" does not hold"),
        ("{}", ": required [\"lines\"] does not hold"),
        (r#"{"lines": []}"#, "/lines: minItems 1 does not hold"),
        (r#"{"lines": [{"n": 1}], "more": 1}"#, ": more is not in the schema"),
        (r#"{"lines": [{"n": 1}, {}]}"#, "/lines/1: required [\"n\"] does not hold"),
        (r#"{"lines": [{"n": 1, "m": 1}]}"#, "/lines/0: m is not in the schema"),
        (r#"{"lines": [{"n": 0}]}"#, "/lines/0/n: minimum 1 does not hold"),
        (r#"{"lines": [{"n": 1.5}]}"#, "/lines/0/n: type \"integer\" does not hold"),
        (r#"{"lines": [{"n": 1}], "next": 1}"#, "/next: type [\"string\",\"null\"] does not hold"),
        (r#"{"lines": [{"n": 1}], "what": "take"}"#, "/what: oneOf"),
    ] {
        let found = mistakes("Order", wrong);
        assert!(found.starts_with(why), "{wrong}: {found}");
    }
    assert!(mistakes("Strange", "{}").contains("multipleOf 7 does not hold, or is not understood"));
}
