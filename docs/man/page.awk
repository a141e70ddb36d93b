# For pages: the manual page of one command, made of entrepot.1, commands/COMMAND.mdoc and its --help, in this order. Any awk.

function fail(what) {
    print "docs/man: " command ": " what >"/dev/stderr"
    failed = 1
    exit 1
}

# ---- plain text as mdoc ----

function escape(s) {
    gsub(/\\/, "\\e", s)
    return s
}

function end_line() {
    if (line != "")
        print (line ~ /^[.']/ ? "\\&" : "") line
    line = ""
}

# A word of --help: an option, a name of the synopsis such as FILE, or anything else.
function say_word(w,    core, tail) {
    core = w
    sub(/[.,;:)]+$/, "", core)
    tail = substr(w, length(core) + 1)
    gsub(/./, " &", tail)
    if (core ~ /^--[a-z]/ || (core in names)) {
        end_line()
        print (core in names ? ".Ar " tolower(core) : ".Fl " dashes(substr(core, 2))) tail
    } else if (core ~ /:\/\/[A-Z]/ && (substr(core, match(core, /[A-Z]+$/)) in names)) { # https://HOST:PORT
        end_line()
        print "." value(core) tail
    } else {
        if (length(line) + length(w) > 78)
            end_line()
        line = line (line == "" ? "" : " ") escape(w)
        if (w ~ /[.?!][)]?$/)
            end_line()
    }
}

function say(text,    n, i, words) {
    n = split(text, words, " ")
    for (i = 1; i <= n; i++)
        say_word(words[i])
    end_line()
}

# The same, as a sentence.
function say_sentence(text) {
    if (!(substr(text, 1, match(text, /[^A-Z]|$/) - 1) in names))
        text = toupper(substr(text, 1, 1)) substr(text, 2)
    say(text (text ~ /[.?!]$/ ? "" : "."))
}

function dashes(s) {
    gsub(/-/, "\\-", s)
    return s
}

# ---- the synopsis ----

# "OS/ARCH[/VARIANT]|all": what is in capitals is an argument, other words stand for themselves.
function value(v,    out, piece, glue, macro) {
    glue = ""
    while (v != "") {
        if (match(v, /^[A-Z]+([:\/][A-Z]+)*/))
            macro = "Ar " tolower(substr(v, 1, RLENGTH))
        else if (match(v, /^[a-z0-9]+(:\/\/)?/))
            macro = "Cm " substr(v, 1, RLENGTH)
        else if (match(v, /^(\[|\]|\||\.\.\.|-)/)) {
            piece = substr(v, 1, RLENGTH)
            macro = piece == "[" ? "Oo" : piece == "]" ? "Oc" : piece == "-" ? "Cm \\-" : piece
        } else {
            match(v, /^./)
            macro = "No \\&" substr(v, 1, 1)
        }
        piece = substr(v, 1, RLENGTH)
        v = substr(v, RLENGTH + 1)
        if (piece == "|" || out == "" || after == "|" || after == "[" || piece == "]")
            glue = out == "" ? "" : " "
        else
            glue = " Ns "
        out = out glue macro
        after = piece
    }
    after = ""
    return out
}

# "-o", "--name"; the name is remembered with its value.
function option(o, v,    n, i, words) {
    if (split(o, words, "|") > 1) { # --show|--rotate
        o = ""
        for (i = 1; i in words; i++) {
            values[words[i]] = ""
            o = o (o == "" ? "" : " | ") "Fl " dashes(substr(words[i], 2))
        }
        return o
    }
    values[o] = v
    return "Fl " dashes(substr(o, 2)) (v == "" ? "" : " " value(v))
}

function say_token(t,    many, open) {
    many = sub(/\]\.\.\.$/, "]", t) ? " Ns ..." : ""
    open = t ~ /^\[/ && t ~ /\]$/
    if (open)
        t = substr(t, 2, length(t) - 2)
    t = t ~ /^-./ ? option(substr(t, 1, match(t, / |$/) - 1), substr(t, match(t, / |$/) + 1)) : value(t)
    print open ? many == "" ? ".Op " t : ".Oo " t " Oc" many : "." t
}

# Splits at the blanks outside of brackets; a bare option goes with its value.
function say_synopsis(    s, i, c, depth, token) {
    s = usage " "
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        depth += c == "[" ? 1 : c == "]" ? -1 : 0
        if (c != " " || depth > 0 || token ~ /^-[^ ]+$/)
            token = token c
        else if (token != "") {
            say_token(token)
            token = ""
        }
    }
    if (token != "" && token != " ")
        say_token(token)
}

# ---- what the files have ----

FNR == 1 { file++; section = item = ""; depth = state = 0 }

file == 1 && /^\.Dd / { date = $0 }

file <= 2 && /^\.Sh / { section = substr($0, 5); item = ""; depth = 0; has[file, section] = 1; next }

# Items of the lists of entrepot.1, and those that stand free in COMMAND.mdoc.
file <= 2 {
    depth += /^\.Bl( |$)/ ? 1 : /^\.El/ ? -1 : 0
    if (/^\.It / && depth == (file == 1)) {
        item = section == "OPTIONS" ? key_of($0) : substr($0, 5)
        items[file, section, ++count[file, section]] = item
        has[file, section, item] = 1
        next
    }
    if (/^\.El/ && depth == 0)
        item = ""
    if (/^\.\\"/ || (file == 1 && /^\.(Bl|El)/ && depth + /^\.El/ == 1))
        next
    body[file, section, item] = body[file, section, item] $0 "\n"
    next
}

function key_of(it) {
    gsub(/\\-/, "-", it)
    return match(it, /Fl --?[a-z-]+( [a-z]+)?/) ? "-" substr(it, RSTART + 3, RLENGTH - 3) : substr(it, 5)
}

# --help: the usage up to a blank line, paragraphs, options, examples, options of all clients.
FNR == 1 { usage = substr($0, length("Usage: entrepot " command) + 2); state = "usage"; next }
state == "usage" && /^ / { sub(/^ +/, ""); usage = usage " " $0; next }
state == "usage" && /^$/ { state = "text"; next }
/^Examples?:$/ { state = "examples"; next }
/^  -/ {
    state = "options"
    match(substr($0, 3), /   */)
    label[++labels] = substr($0, 3, RSTART - 1)
    about[labels] = substr($0, 2 + RSTART + RLENGTH)
    next
}
/^$/ { if (state == "text") paragraphs++; next }
state == "options" { sub(/^ +/, ""); about[labels] = about[labels] " " $0; next }
state == "examples" { sub(/^  /, ""); examples = examples "$ " escape($0) "\n"; next }
{ text[paragraphs + 0, ++lines[paragraphs + 0]] = $0 }

# ---- the page ----

function say_body(section, item) {
    printf "%s", body[2, section, item]
    used[section, item] = 1
}

# "check: what it does": a word of the synopsis; or "".
function word_of(s) {
    s = substr(s, 1, index(s, ": ") - 1)
    return s in words_of ? s : ""
}

function begins_list(p) {
    return word_of(text[p, 1]) != ""
}

function say_paragraph(p,    i, word, open, all) {
    for (i = 1; i <= lines[p]; i++) {
        word = word_of(text[p, i])
        if (word != "") {
            say(all)
            if (open)
                say_body("DESCRIPTION", open)
            else
                print ".Bl -tag -width Ds"
            open = "Cm " word
            print ".It " open
            all = ""
            text[p, i] = toupper(substr(text[p, i], length(word) + 3, 1)) substr(text[p, i], length(word) + 4)
        }
        all = all " " text[p, i]
    }
    say(all)
    if (open)
        say_body("DESCRIPTION", open)
    if (open)
        print ".El"
}

function say_description(    p) {
    print ".Sh DESCRIPTION"
    for (p = 0; p <= paragraphs; p++) {
        if (p > 0 && lines[p] && !begins_list(p))
            print ".Pp"
        say_paragraph(p)
    }
    if (body[2, "DESCRIPTION", ""] != "")
        print ".Pp"
    say_body("DESCRIPTION", "")
    if (usage ~ /REF/)
        print ".Pp\nHow a reference is completed is described in\n.Xr entrepot 1 ."
}

# "-o, --output PATH": the value is that of the synopsis, which says more.
function label_of(l,    n, i, parts, name, v, out) {
    n = split(l, parts, ", ")
    for (i = 1; i <= n; i++) {
        name = parts[i]
        sub(/ .*/, "", name)
        v = substr(parts[i], length(name) + 2)
        listed[name] = 1
        if (v != "" && v !~ /[a-z]/) # -o and --output have the same
            v = values[name] != "" ? values[name] : n > 1 && values[parts[1]] != "" ? values[parts[1]] : v
        out = out (i > 1 ? " , " : "") (name == "-" ? "Cm \\-" : option_label(name, v))
    }
    if (n > 1 && parts[1] ~ /^-[a-z]$/) # the synopsis has one of both
        listed[parts[1]] = listed[name] = 1
    return out
}

function option_label(name, v) {
    return "Fl " dashes(substr(name, 2)) (v == "" ? "" : " " value(v))
}

function say_options(    i, n, k, keys, o) {
    for (o in values)
        wanted[o] = 1
    if (labels)
        print ".Sh OPTIONS\n.Bl -tag -width Ds"
    for (i = 1; i <= labels; i++) {
        print ".It " label_of(label[i])
        say_sentence(about[i])
        n = split(label[i], keys, ", ")
        for (k = 1; k <= n; k++) {
            sub(/ [A-Z].*/, "", keys[k])
            say_body("OPTIONS", keys[k])
        }
    }
    if (labels)
        print ".El"
    for (o in wanted)
        if (o ~ /^-/ && !(o in listed))
            fail("--help has no text for " o)
}

function say_shared(section, item) {
    print ".It " item
    if (body[2, section, item] == "" && !((1, section, item) in has))
        fail("entrepot.1 has no " item " under " section)
    printf "%s", body[2, section, item] != "" ? body[2, section, item] : body[1, section, item]
    used[section, item] = 1
}

function say_list(section, common,    i) {
    if (!common && !count[2, section])
        return
    print ".Sh " section "\n.Bl -tag -width Ds"
    if (common)
        say_shared(section, common)
    for (i = 1; i <= count[2, section]; i++)
        say_shared(section, items[2, section, i])
    print ".El"
}

function say_see_also(    n, i, list) {
    print ".Sh SEE ALSO"
    n = split(body[2, "SEE ALSO", ""], list, "\n") - 1
    used["SEE ALSO", ""] = 1
    print ".Xr entrepot 1" (n > 0 ? " ," : "")
    for (i = 1; i <= n; i++)
        print list[i] (i < n ? " ," : "")
}

# Names in capitals, and the words that an argument can be.
function read_usage(    s) {
    for (s = usage; match(s, /[A-Z][A-Z]+/); s = substr(s, RSTART + RLENGTH))
        names[substr(s, RSTART, RLENGTH)] = 1
    for (s = usage; match(s, /[a-z-]+/); s = substr(s, RSTART + RLENGTH))
        words_of[substr(s, RSTART, RLENGTH)] = 1
}

END {
    if (failed)
        exit 1
    client = usage ~ /--socket/
    read_usage()
    print ".\\\" Made by docs/man/pages.\n" date "\n.Dt ENTREPOT-" toupper(command) " 1\n.Os\n.Sh NAME\n.Nm entrepot-" command "\n.Nd " does
    print ".Sh SYNOPSIS\n.Nm entrepot " command
    say_synopsis()
    say_description()
    say_options()
    say_list("ENVIRONMENT", client ? "Ev ENTREPOT_SOCKET" : "")
    say_list("FILES", client ? "Pa /run/entrepot/admin.sock" : "")
    printf ".Sh EXIT STATUS\n%s", body[1, "EXIT STATUS", ""]
    say_body("EXIT STATUS", "")
    printf ".Sh EXAMPLES\n.Bd -literal -offset indent\n%s.Ed\n", examples
    if (body[2, "EXAMPLES", ""] != "")
        print ".Pp"
    say_body("EXAMPLES", "")
    say_see_also()
    for (k in body) {
        split(k, parts, SUBSEP)
        if (parts[1] == 2 && body[k] != "" && !((parts[2], parts[3]) in used))
            fail("commands/" command ".mdoc: nothing in --help is called " parts[2] ", " parts[3])
    }
}
