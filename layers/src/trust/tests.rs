use super::*;
use crate::manifest::Kind;

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

#[test]
fn a_trust_file_is_read_and_printed_back() {
    let text = format!(
        "verify require\ncorruption restart\nthreshold 2\nkey {KEY} kinds=base,layer names=debian,acme-* until=2027-06-30\n\
         revoked E7620F1842B4E81A\nminimum base debian 13.1\n"
    );
    let trust = Trust::parse(&text).unwrap();
    assert_eq!(trust.to_string(), text);
    assert_eq!(trust.keys[0].public.id().to_string(), "E7620F1842B4E81F");
    let commented = format!("# ours\n\n  {}", text.replace('\n', " # why\n   "));
    assert_eq!(Trust::parse(&commented).unwrap(), trust);
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    let two = format!("key {KEY}\nkey {KEY} kinds=base");
    for (text, line, what) in [
        ("verify maybe", 1, "\"maybe\" is no verify"),
        ("verify off\nverfy require", 2, "\"verfy\" is not known"),
        ("threshold 0", 1, "\"0\" is no threshold"),
        ("key RWQ", 1, "\"RWQ\" is no public key of minisign"),
        (&format!("key {KEY} kinds=bsae"), 1, "\"kinds=bsae\" is no limit of a key"),
        (&format!("key {KEY} names="), 1, "\"names=\" is no limit of a key"),
        (&format!("key {KEY} until=soon"), 1, "\"until=soon\" is no limit of a key"),
        (&two, 2, "key E7620F1842B4E81F is named twice"),
        ("revoked E762", 1, "\"E762\" is no revoked"),
        ("minimum base debian", 1, "\"base debian\" is no kind, name and version"),
    ] {
        let error = Trust::parse(text).unwrap_err();
        assert_eq!((error.line, error.what.as_str()), (line, what), "{text}");
    }
}

#[test]
fn what_is_added_can_only_ask_for_more() {
    let built_in = format!("verify if-signed\nthreshold 2\nkey {KEY}\nminimum layer web 2\n");
    let built_in = Trust::parse(&built_in).unwrap();
    let mut lowered = built_in.clone();
    lowered.raise(&Trust::parse("verify off\nthreshold 1\nminimum layer web 1").unwrap());
    assert_eq!(lowered, built_in);

    let other = KEY.replace("RWQf6", "RWQf7");
    let more = format!(
        "verify require\ncorruption panic\nthreshold 3\nkey {other}\nrevoked E7620F1842B4E81F\nminimum layer web 3"
    );
    let mut raised = built_in.clone();
    raised.raise(&Trust::parse(&more).unwrap());
    assert_eq!(raised.verify, Verify::Require);
    assert_eq!(raised.corruption, OnCorruption::Panic);
    assert_eq!(raised.threshold, 3);
    assert_eq!(raised.keys, built_in.keys, "whoever can write the store adds no key");
    assert_eq!(raised.revoked.len(), 1);
    assert_eq!(raised.minimum.lines().collect::<Vec<_>>(), ["layer web 3"]);
}

#[test]
fn floors_rise_and_fall_as_they_are_told() {
    let mut floors: Floors = "layer web 2\nbase debian 13.1\n".parse().unwrap();
    let (web, two) = ("web".parse().unwrap(), "2".parse().unwrap());
    let one = "1.9".parse().unwrap();
    assert!(floors.refuse(Purpose::Layer, &web, &two).is_none());
    assert!(floors.refuse(Purpose::Layer, &web, &one).is_some());
    assert!(floors.refuse(Purpose::Base, &web, &one).is_none(), "another kind");
    floors.raise_to(Purpose::Layer, &web, &one);
    assert_eq!(floors.get(Purpose::Layer, &web), Some(&two));
    floors.lower(&"layer web 1.9\nlayer other 1\nbase debian 14".parse().unwrap());
    assert_eq!(floors.to_string(), "base debian 13.1\nlayer web 1.9\n");
}

#[test]
fn a_kind_has_the_same_word_everywhere() {
    for kind in Kind::ALL {
        // Who may sign what a machine makes over the layers may sign all of it.
        let word = if kind == Kind::Index { Kind::Trigger.word() } else { kind.word() };
        assert_eq!(Purpose::from(kind).name(), word);
        assert_eq!(toml::Value::try_from(kind).unwrap().as_str(), Some(kind.word()));
    }
    for verify in Verify::ALL {
        assert_eq!(toml::Value::try_from(verify).unwrap().as_str(), Some(verify.name()));
    }
}
