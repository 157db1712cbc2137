use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn id(text: &str) -> AppId {
    AppId::absolute(text).unwrap()
}

fn definition(json: &Value) -> Definition {
    match Update::read(json, &AppId::root(), None).unwrap_or_else(|error| panic!("{json}: {error}")) {
        Update::Definition(definition) => definition,
        other => panic!("{json}: {other:?}"),
    }
}

/// What there is after these definitions, one after the other.
fn groups(definitions: &[Value]) -> Groups {
    definitions.iter().fold(Groups::default(), |groups, json| {
        groups.updated(&definition(json)).unwrap()
    })
}

fn place(json: &Value) -> String {
    let read = Update::read(json, &AppId::root(), None);
    let update = read.and_then(|update| match update {
        Update::Definition(definition) => Groups::default().updated(&definition).map(drop),
        Update::Back(_) | Update::Scale(_) => Ok(()),
    });
    update.expect_err(&json.to_string()).fields()[0].path.clone()
}

fn shop() -> Value {
    json!({
        "id": "/shop",
        "apps": [{ "id": "web", "cmd": "web", "instances": 3 }],
        "groups": [
            { "id": "data", "apps": [{ "id": "/shop/data/db", "cmd": "db" }, { "id": "cache", "cmd": "cache" }] },
            { "id": "/shop/jobs", "dependencies": ["../data"], "apps": [{ "id": "mail", "cmd": "mail" }] },
        ],
    })
}

fn ids<T>(of: &BTreeMap<AppId, T>) -> Vec<&str> {
    of.keys().map(AppId::as_str).collect()
}

#[test]
fn case_20_ids_are_relative_to_their_group() {
    let shop = groups(&[shop()]);
    assert_eq!(
        ids(&shop.apps),
        ["/shop/data/cache", "/shop/data/db", "/shop/jobs/mail", "/shop/web"]
    );
    assert_eq!(ids(&shop.groups), ["/shop", "/shop/data", "/shop/jobs"]);
    assert_eq!(shop.groups[&id("/shop/jobs")], [id("/shop/data")].into());
}

#[test]
fn case_20_what_a_definition_leaves_out_goes_and_what_it_does_not_name_stays() {
    let other = json!({ "id": "/other", "apps": [{ "id": "a", "cmd": "a" }] });
    let after = |update: Value| groups(&[shop(), other.clone(), update]);

    let one = after(json!({ "id": "/shop", "groups": [{ "id": "data", "apps": [{ "id": "db", "cmd": "db" }] }] }));
    assert_eq!(ids(&one.apps), ["/other/a", "/shop/data/db", "/shop/web"]);
    assert_eq!(ids(&one.groups), ["/other", "/shop", "/shop/data"]);

    let without_apps = after(json!({ "id": "/shop", "apps": [] }));
    assert_eq!(
        ids(&without_apps.apps),
        ["/other/a", "/shop/data/cache", "/shop/data/db", "/shop/jobs/mail"]
    );

    let same = after(json!({ "id": "/shop" }));
    assert_eq!(same, groups(&[shop(), other.clone()]));
    let emptied = after(json!({ "id": "/shop", "apps": [], "groups": [] }));
    assert_eq!(
        (ids(&emptied.apps), ids(&emptied.groups)),
        (vec!["/other/a"], vec!["/other", "/shop"])
    );
}

#[test]
fn case_20_a_circle_is_refused_and_shown() {
    let circle = json!({ "id": "/", "apps": [
        { "id": "a", "cmd": "a", "dependencies": ["/b"] },
        { "id": "b", "cmd": "b", "dependencies": ["/c"] },
        { "id": "c", "cmd": "c", "dependencies": ["/a"] },
    ] });
    let error = Groups::default().updated(&definition(&circle)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Object is not valid\n  /dependencies go in a circle: /a -> /b -> /c -> /a"
    );

    let by_groups = json!({ "id": "/", "groups": [
        { "id": "a", "dependencies": ["/b"], "apps": [{ "id": "x", "cmd": "x" }] },
        { "id": "b", "apps": [{ "id": "y", "cmd": "y", "dependencies": ["/a/x"] }] },
    ] });
    assert_eq!(place(&by_groups), "/dependencies");
}

#[test]
fn case_20_each_id_is_of_one_thing() {
    let app = json!({ "id": "web", "cmd": "a" });
    assert_eq!(place(&json!({ "id": "/shop", "apps": [app, app] })), "/apps/1/id");
    assert_eq!(
        place(&json!({ "id": "/shop", "groups": [{ "id": "a" }, { "id": "a" }] })),
        "/groups/1/id"
    );
    assert_eq!(
        place(&json!({ "id": "/shop", "apps": [app], "groups": [{ "id": "web" }] })),
        "/id"
    );
}

#[test]
fn case_20_scale_by_multiplies_and_rounds_up() {
    let update = Update::read(&json!({ "scaleBy": 1.5 }), &AppId::root(), Some(&id("/shop")));
    assert_eq!(update, Ok(Update::Scale(1.5)));

    let scaled = groups(&[shop()]).scaled(&id("/shop"), 1.5);
    let instances: Vec<u32> = scaled.apps.values().map(|app| app.instances).collect();
    assert_eq!(instances, [2, 2, 2, 5]);
    let part = groups(&[shop()]).scaled(&id("/shop/data"), 2.0);
    assert_eq!(
        part.apps.values().map(|app| app.instances).collect::<Vec<_>>(),
        [2, 2, 1, 3]
    );
}

#[test]
fn case_20_a_version_alone_goes_back() {
    let version = json!({ "version": "2026-01-02T03:04:05.678Z" });
    let update = Update::read(&version, &AppId::root(), Some(&id("/shop"))).unwrap();
    assert!(matches!(update, Update::Back(time) if time.to_string() == "2026-01-02T03:04:05.678Z"));

    // An answer that is sent back is a definition.
    let mut answer = shop();
    answer["version"] = version["version"].clone();
    answer["pods"] = json!([]);
    answer["enforceRole"] = json!(false);
    assert_eq!(definition(&answer).ignored, Vec::<String>::new());
}

#[test]
fn mistakes_have_their_places_in_the_tree() {
    assert_eq!(place(&json!({})), "/id");
    assert_eq!(place(&json!([])), "/");
    assert_eq!(
        place(&json!({ "id": "/a", "groups": [{ "id": "b", "apps": [{ "id": "c", "cmd": 1 }] }] })),
        "/groups/0/apps/0/cmd"
    );
    assert_eq!(
        place(&json!({ "id": "/a", "apps": [{ "id": "/b/c", "cmd": "a" }] })),
        "/apps/0/id"
    );
    assert_eq!(
        place(&json!({ "id": "/a", "apps": [{ "id": "b/c", "cmd": "a" }] })),
        "/apps/0"
    );
    assert_eq!(
        place(&json!({ "id": "/a", "groups": [{ "id": "/b" }] })),
        "/groups/0/id"
    );
    assert_eq!(place(&json!({ "id": "/a", "pods": [{}] })), "/pods");
    assert_eq!(place(&json!({ "id": "/a", "scaleBy": 2, "apps": [] })), "/scaleBy");
    assert_eq!(place(&json!({ "id": "/a", "scaleBy": -1 })), "/scaleBy");

    let known = |json: Value| Update::read(&json, &AppId::root(), Some(&id("/shop/data")));
    assert!(known(json!({ "id": "/shop/data" })).is_ok() && known(json!({ "id": "data" })).is_ok());
    assert_eq!(known(json!({ "id": "/shop" })).unwrap_err().fields()[0].path, "/id");

    let named = definition(&json!({ "id": "/a", "apps": [{ "id": "b", "cmd": "a", "x": 1 }], "y": 1 }));
    assert_eq!(named.ignored, ["/apps/0/x", "/y"]);
}

#[test]
fn a_group_is_there_by_itself_or_by_what_is_in_it() {
    let shop = groups(&[
        json!({ "id": "/", "groups": [{ "id": "a" }, { "id": "b/c", "apps": [{ "id": "d", "cmd": "d" }] }] }),
    ]);
    for (text, there) in [
        ("/", true),
        ("/a", true),
        ("/b", true),
        ("/b/c", true),
        ("/b/c/d", false),
        ("/x", false),
    ] {
        assert_eq!(shop.has(&id(text)), there, "{text}");
    }
    assert_eq!(ids(&shop.within(&id("/b")).apps), ["/b/c/d"]);
}

#[test]
fn a_tree_is_as_marathon_answers_it() {
    let shop = groups(&[shop()]);
    let shapes: BTreeMap<AppId, Shape<'_>> = shop
        .groups
        .iter()
        .map(|(id, dependencies)| {
            let version = "v2";
            (id.clone(), Shape { dependencies, version })
        })
        .collect();
    let apps = || shop.apps.keys().map(|id| (id.clone(), json!({ "id": id })));

    let root = tree(&AppId::root(), apps(), &shapes, "v1");
    assert_eq!(
        (&root["id"], &root["version"], &root["apps"]),
        (&json!("/"), &json!("v1"), &json!([]))
    );
    assert_eq!(root["groups"][0]["apps"], json!([{ "id": "/shop/web" }]));
    let jobs = &root["groups"][0]["groups"][1];
    let expected = json!({
        "id": "/shop/jobs",
        "apps": [{ "id": "/shop/jobs/mail" }],
        "groups": [],
        "pods": [],
        "dependencies": ["/shop/data"],
        "version": "v2",
    });
    assert_eq!(jobs, &expected);

    assert_eq!(&tree(&id("/shop/jobs"), apps(), &shapes, "v1"), &expected);
    assert_eq!(tree(&id("/x"), apps(), &shapes, "v1")["apps"], json!([]));
}

proptest! {
    #[test]
    fn what_is_found_as_a_circle_is_one(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..20)) {
        let name = |at: usize| id(&format!("/app{at}"));
        let mut needs: BTreeMap<AppId, BTreeSet<AppId>> = (0..8).map(|at| (name(at), BTreeSet::new())).collect();
        for (from, to) in &edges {
            needs.entry(name(*from)).or_default().insert(name(*to));
        }
        match circle(&needs) {
            Some(circle) => {
                prop_assert_eq!(circle.first(), circle.last());
                prop_assert!(circle.windows(2).all(|pair| needs[&pair[0]].contains(&pair[1])));
            }
            // Without one, apps can be taken away one after the other when nothing that they need is left.
            None => while !needs.is_empty() {
                let free = needs.iter().find(|(_, of)| of.iter().all(|id| !needs.contains_key(id)));
                let free = free.map(|(id, _)| id.clone());
                prop_assert!(free.is_some());
                free.map(|id| needs.remove(&id));
            },
        }
    }
}
