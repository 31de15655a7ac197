"""More forms of the same people, after what programs print, export and log: objects, tables, exports of browsers,
one-line records. As `forms`.
"""

import json
import urllib.parse
from collections.abc import Iterator, Sequence

from kordant_jobs.lab.world.forms import Facts, Form, Someone, Write

_MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
_SECRET: Facts = {"secret": "clear"}


def _lines(template: str, *, first: str = "", last: str = "", between: str = "\n") -> Write:
    """As `forms`; `n`, `us` and `dash` are the phone number as it is dialled at home."""

    def write(persons: Sequence[Someone]) -> str:
        rows = []
        for one in persons:
            area, middle, rest = one.phone[2:5], one.phone[5:8], one.phone[8:]
            numbers = {"n": one.phone[2:], "us": f"({area}) {middle}-{rest}", "dash": f"{area}-{middle}-{rest}"}
            rows.append(template.format(p=one, **numbers))
        return f"{first}{between.join(rows)}{last}\n"

    return write


_TEXTS: dict[str, tuple[Write, Facts]] = {
    "one-line-dash": (_lines("Email: {p.email} - ScreenName: {p.username} - Phone: {us} - Followers: 3 - Created At: Tue Mar 03"), {"usernames": True, "phones": True, "secret": "none"}),
    "one-line-bar": (_lines("Name: {p.name} | Phone: {dash} | User: {p.username} | Mail: {p.email} | Pass: {p.password}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "one-line-slash": (_lines("User: {p.username} / E-mail: {p.email} / Password: {p.password}"), {"usernames": True, "secret": "clear"}),
    "one-line-semi": (_lines("id={p.number}; username={p.username}; email={p.email}; password={p.password};"), {"usernames": True, "secret": "clear"}),
    "one-line-brackets": (_lines("[Email: {p.email}] [Username: {p.username}] [Password: {p.password}]"), {"usernames": True, "secret": "clear"}),
    "one-line-tab": (_lines("Login: {p.username}\tEmail: {p.email}\tIP: 10.0.0.1\tPhone number: {n}\tPassword: {p.password}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "capture-combo": (_lines("{p.email}:{p.password} | Country = US | Plan = Premium | Expiry = 2024-01-01"), {"secret": "clear"}),
    "capture-brackets": (_lines("{p.email}:{p.password} [Country: US] [Plan: Basic]"), {"secret": "clear"}),
    "capture-arrow": (_lines("[+] {p.email}:{p.password} -> LIVE"), {"secret": "clear"}),
    "numbered-combo": (_lines("{p.number}. {p.email}:{p.password}"), {"secret": "clear"}),
    "bullets-combo": (_lines("• {p.email}:{p.password}"), {"secret": "clear"}),
    "tick-combo": (_lines("✅ {p.email}|{p.password}"), {"secret": "clear"}),
    "slash-combo": (_lines("{p.email} / {p.password}"), {"secret": "clear"}),
    "wide-blanks": (_lines("{p.email}        {p.password}"), {"secret": "clear"}),
    "hash-first": (_lines(_MD5 + ":{p.email}"), {"secret": "hashed"}),
    "email-hash-salt": (_lines("{p.email}:5f4dcc3b5aa765d61d8327deb882cf99:a1B2c"), {}),
    "user-mail-ip-hash": (_lines("{p.username}:{p.email}:10.0.0.{p.number}:" + _MD5), {"secret": "hashed"}),
    "id-mail-user-hex": (_lines("{p.number}:{p.email}:{p.username}:0x5F4DCC3B5AA765D61D8327DEB882CF99:0x"), {"secret": "hashed"}),
    "smtp-list": (_lines("smtp.mail.example|587|{p.email}|{p.password}"), {"secret": "clear"}),
    "mysql-table": (_lines("| {p.number:>3} | {p.email:<36} | {p.username:<12} | {p.phone:<14} | {p.password:<14} |",first="+-----+------+\n|  id | email                                | username     | phone          | password       |\n+-----+------+\n",last="\n+-----+-----+\n30 rows in set (0.00 sec)"), {"usernames": True, "phones": True, "secret": "clear"}),
    "psql-table": (_lines(" {p.number:>3} | {p.email:<36} | {p.username:<12} | {p.phone:<14} | {p.password:<14}",first=" id  | email                                | username     | phone          | password       \n-----+------+------+------+------\n",last="\n(30 rows)\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "mysql-vertical": (_lines("*************************** {p.number}. row ***************************\n      id: {p.number}\n   email: {p.email}\nusername: {p.username}\n   phone: {p.phone}\npassword: {p.password}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "markdown-table": (_lines("| {p.email} | {p.username} | {p.phone} | {p.password} |",first="# Users\n\n| email | username | phone | password |\n|---|---|---|---|\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "fixed-width": (_lines("{p.number:<6}{p.email:<40}{p.username:<16}{p.phone:<16}{p.password}",first="id    email                                   username        phone           password\n"), {"phones": True}),
    "csv-german": (_lines("{p.number};{p.email};{p.username};{p.phone};{p.password}",first="Nr;E-Mail-Adresse;Benutzername;Telefonnummer;Passwort\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-french": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="Id;Adresse e-mail;Nom d'utilisateur;Téléphone;Mot de passe\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-portuguese": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="Id;E-mail;Usuário;Número de telefone;Senha\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-spanish": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="Id;Correo electrónico;Nombre de usuario;Número de teléfono;Contraseña\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-chinese": (_lines("{p.number},{p.email},{p.username},{n},{p.password}",first="编号,邮箱,用户名,手机号,密码\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-turkish": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="No;E-posta;Kullanıcı adı;Telefon;Şifre\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-italian": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="Id;Indirizzo email;Nome utente;Cellulare;Password\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-polish": (_lines("{p.number};{p.email};{p.username};{n};{p.password}",first="Id;Adres e-mail;Nazwa użytkownika;Numer telefonu;Hasło\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "csv-firefox": (_lines('"https://shop.example","{p.username}","{p.password}",,"https://shop.example","{{a}}","1","2","3"\n"https://b.example","{p.email}","{p.password}",,"","{{a}}","1","2","3"',first='"url","username","password","httpRealm","formActionOrigin","guid","timeCreated","timeLastUsed","timePasswordChanged"\n'), {"usernames": True, "secret": "clear"}),
    "csv-lastpass": (_lines('https://shop.example,{p.username},{p.password},,"note {p.email}",Shop,,0',first="url,username,password,totp,extra,name,grouping,fav\n"), {"usernames": True}),
    "csv-google-contacts": (_lines("{p.name},,* ,{p.email},Mobile,{dash}",first="Name,Given Name,E-mail 1 - Type,E-mail 1 - Value,Phone 1 - Type,Phone 1 - Value\n"), {"phones": True, "secret": "none"}),
    "csv-outlook": (_lines('"{p.name}","","{p.email}","{us}",""',first='"First Name","Last Name","E-mail Address","Mobile Phone","Home Phone"\n'), {"phones": True, "secret": "none"}),
    "csv-nulls": (_lines("{p.number}\t{p.email}\t\\N\t{p.phone}\t{p.password}",first="id\temail\tnick\tphone\tpassword\n"), {"phones": True, "secret": "clear"}),
    "csv-comment-phone": (_lines('{p.number},{p.email},"please call me at {n} thanks"',first="id,email,comment\n"), {"phones": True, "secret": "none"}),
    "csv-comment-us": (_lines('{p.number},{p.email},"ring {us} or write"',first="id,email,comment\n"), {"phones": True, "secret": "none"}),
    "json-split": (lambda ps: json.dumps({"columns":["id","email","username","phone","password"],"data":[[p.number,p.email,p.username,p.phone,p.password] for p in ps]})+"\n", {"phones": True}),
    "json-rows-header": (lambda ps: json.dumps([["id","email","username","phone","password"]]+[[p.number,p.email,p.username,p.phone,p.password] for p in ps])+"\n", {"phones": True}),
    "json-columns": (lambda ps: json.dumps({"email":{str(i):p.email for i,p in enumerate(ps)},"username":{str(i):p.username for i,p in enumerate(ps)},"phone":{str(i):p.phone for i,p in enumerate(ps)}})+"\n", {"phones": True}),
    "json-dynamo": (lambda ps: "".join(json.dumps({"Item":{"email":{"S":p.email},"username":{"S":p.username},"phone":{"S":p.phone},"password":{"S":p.password}}})+"\n" for p in ps), {"usernames": True, "phones": True, "secret": "clear"}),
    "json-key-value": (lambda ps: json.dumps([[{"key":"email","value":p.email},{"key":"username","value":p.username},{"key":"password","value":p.password}] for p in ps])+"\n", {}),
    "json5": (_lines("  {{id: {p.number}, email: '{p.email}', username: '{p.username}', phone: '{p.phone}', password: '{p.password}'}},",first="const users = [\n",last="\n];"), {"usernames": True, "phones": True, "secret": "clear"}),
    "mongo-shell": (_lines('{{ "_id" : ObjectId("5f{p.number:022}"), "email" : "{p.email}", "username" : "{p.username}", "n" : NumberInt(3), "on" : ISODate("2019-01-01T00:00:00Z"), "phone" : "{p.phone}", "password" : "{p.password}" }}'), {"usernames": True, "phones": True, "secret": "clear"}),
    "elastic-bulk": (lambda ps: "".join(f'{{"index":{{"_id":{p.number}}}}}\n' + json.dumps({"email":p.email,"username":p.username,"password":p.password})+"\n" for p in ps), {"usernames": True, "secret": "clear"}),
    "json-string-lines": (lambda ps: "".join(json.dumps(json.dumps({"email":p.email,"username":p.username,"phone":p.phone,"password":p.password}))+"\n" for p in ps), {"phones": True}),
    "json-in-log": (lambda ps: "".join("2019-01-01 10:00:00 INFO body="+json.dumps({"email":p.email,"username":p.username,"phone":p.phone,"password":p.password})+"\n" for p in ps), {"phones": True}),
    "form-bodies": (lambda ps: "".join(urllib.parse.urlencode({"email":p.email,"username":p.username,"password":p.password,"phone":p.phone})+"\n" for p in ps), {}),
    "post-log": (lambda ps: "".join('10.0.0.1 - - [01/Jan/2019:00:00:00 +0000] "POST /login?'+urllib.parse.urlencode({"email":p.email,"user":p.username})+' HTTP/1.1" 200 5\n' for p in ps), {}),
    "phishing-kit": (_lines("+ ------------- Login Info -------------+\n| Email Address : {p.email}\n| Password : {p.password}\n+ ------------- Victim -------------+\n| Full Name : {p.name}\n| Phone Number : {n}\n| Client IP : 10.0.0.1\n+ ------- END ------- +\n"), {"phones": True, "secret": "clear"}),
    "autofill-redline": (_lines("Name: email\nValue: {p.email}\n===============\nName: phone\nValue: {p.phone}\n==============="), {"phones": True}),
    "netscape-cookies": (_lines(".shop.example\tTRUE\t/\tFALSE\t1700000000\tuser_email\t{p.email}"), {}),
    "keepass-xml": (_lines("<Entry><String><Key>UserName</Key><Value>{p.email}</Value></String><String><Key>Password</Key><Value ProtectInMemory=\"True\">{p.password}</Value></String><String><Key>URL</Key><Value>https://a.example</Value></String></Entry>",first='<?xml version="1.0"?>\n<KeePassFile><Root><Group>\n',last="\n</Group></Root></KeePassFile>"), {}),
    "plist": (_lines("<dict>\n<key>email</key>\n<string>{p.email}</string>\n<key>username</key>\n<string>{p.username}</string>\n<key>password</key>\n<string>{p.password}</string>\n</dict>",first='<?xml version="1.0"?>\n<plist version="1.0"><array>\n',last="\n</array></plist>"), {}),
    "spreadsheet-ml": (_lines('<Row><Cell><Data ss:Type="String">{p.email}</Data></Cell><Cell><Data ss:Type="String">{us}</Data></Cell></Row>',first='<?xml version="1.0"?>\n<Workbook><Worksheet><Table>\n',last="\n</Table></Worksheet></Workbook>"), {"phones": True}),
    "xml-unknown-phones": (_lines("<contact><who>{p.name}</who><voice1>{us}</voice1><net>{p.email}</net></contact>",first="<contacts>\n",last="\n</contacts>"), {"phones": True}),
    "xml-soap": (_lines("<soap:Envelope><soap:Body><ns2:getUserResponse><return><emailAddress>{p.email}</emailAddress><userName>{p.username}</userName><mobilePhone>{n}</mobilePhone><passwordHash>5f4dcc3b5aa765d61d8327deb882cf99</passwordHash></return></ns2:getUserResponse></soap:Body></soap:Envelope>"), {"usernames": True, "phones": True, "secret": "hashed"}),
    "ruby-inspect": (_lines('#<User id: {p.number}, email: "{p.email}", username: "{p.username}", phone: "{p.phone}", password: "{p.password}">'), {"usernames": True, "phones": True, "secret": "clear"}),
    "ruby-hash": (_lines('{{:id=>{p.number}, :email=>"{p.email}", :username=>"{p.username}", :password=>"{p.password}"}}'), {"usernames": True, "secret": "clear"}),
    "python-repr": (_lines("User(id={p.number}, email='{p.email}', username='{p.username}', phone='{p.phone}', password='{p.password}')"), {"usernames": True, "phones": True, "secret": "clear"}),
    "java-tostring": (_lines("User{{id={p.number}, email='{p.email}', username='{p.username}', phone='{p.phone}', password='{p.password}'}}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "go-struct": (_lines("{{ID:{p.number} Email:{p.email} Username:{p.username} Phone:{p.phone} Password:{p.password}}}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "lua-table": (_lines('\t{{ ["email"] = "{p.email}", ["username"] = "{p.username}", ["phone"] = "{p.phone}", ["password"] = "{p.password}" }},',first="users = {\n",last="\n}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "perl-hash": (_lines("  {{ email => '{p.email}', username => '{p.username}', phone => '{p.phone}', password => '{p.password}' }},",first="my @users = (\n",last="\n);"), {"usernames": True, "phones": True, "secret": "clear"}),
    "powershell-list": (_lines("Id       : {p.number}\nEmail    : {p.email}\nUserName : {p.username}\nPhone    : {p.phone}\nPassword : {p.password}\n"), {"usernames": True, "phones": True, "secret": "clear"}),
    "toml": (_lines('[[user]]\nemail = "{p.email}"\nusername = "{p.username}"\nphone = "{p.phone}"\npassword = "{p.password}"\n'), {"usernames": True, "phones": True, "secret": "clear"}),
    "yaml-flow": (_lines("- {{email: {p.email}, username: {p.username}, phone: '{p.phone}', password: '{p.password}'}}"), {"usernames": True, "phones": True, "secret": "clear"}),
    "protobuf-text": (_lines('user {{\n  email: "{p.email}"\n  username: "{p.username}"\n  phone: "{p.phone}"\n  password: "{p.password}"\n}}'), {"usernames": True, "phones": True, "secret": "clear"}),
    "redis-hset": (_lines("HSET user:{p.number} email {p.email} username {p.username} password {p.password}"), {}),
    "sql-update": (_lines("UPDATE users SET email='{p.email}', username='{p.username}', phone='{p.phone}', password='{p.password}' WHERE id={p.number};"), {"phones": True}),
    "sql-exec": (_lines("EXEC dbo.AddUser @Email = N'{p.email}', @UserName = N'{p.username}', @Phone = N'{p.phone}', @Password = N'{p.password}'"), {"phones": True}),
    "sql-e-strings": (_lines("INSERT INTO users (id, email, username, phone, password) VALUES ({p.number}, E'{p.email}', E'{p.username}', E'{p.phone}', E'{p.password}');"), {"usernames": True, "phones": True, "secret": "clear"}),
    "sql-dollar": (_lines("INSERT INTO users (id, email, username, phone, password) VALUES ({p.number}, $${p.email}$$, $${p.username}$$, $${p.phone}$$, $${p.password}$$);"), {"usernames": True, "phones": True, "secret": "clear"}),
    "sql-odku": (_lines("INSERT INTO users (id, email, username, phone, password) VALUES ({p.number}, '{p.email}', '{p.username}', '{p.phone}', '{p.password}') ON DUPLICATE KEY UPDATE email=VALUES(email);"), {"usernames": True, "phones": True, "secret": "clear"}),
    "sql-select-union": (_lines("SELECT {p.number}, '{p.email}', '{p.username}', '{p.phone}', '{p.password}'",first="INSERT INTO users (id, email, username, phone, password)\n",between="\nUNION ALL\n"), {"phones": True}),
    "sql-h2": (_lines("({p.number}, '{p.email}', '{p.username}', '{p.phone}', '{p.password}')",first='CREATE MEMORY TABLE "PUBLIC"."USERS"(\n    "ID" INT NOT NULL,\n    "EMAIL" VARCHAR(99),\n    "USERNAME" VARCHAR(99),\n    "PHONE" VARCHAR(99),\n    "PASSWORD" VARCHAR(99)\n);\nINSERT INTO "PUBLIC"."USERS" VALUES\n',between=",\n",last=";"), {"usernames": True, "phones": True, "secret": "clear"}),
    "sql-schema-quoted": (_lines('INSERT INTO "public"."users" ("id", "email", "username", "phone", "password") OVERRIDING SYSTEM VALUE VALUES ({p.number}, \'{p.email}\', \'{p.username}\', \'{p.phone}\', \'{p.password}\');'), {"usernames": True, "phones": True, "secret": "clear"}),
    "zero-width": (_lines("{p.email}\u200b:{p.password}"), {}),
    "nbsp-combo": (_lines("{p.email}\u00a0:\u00a0{p.password}"), {"secret": "clear"}),
}  # fmt: skip


def more_forms(persons: Sequence[Someone]) -> Iterator[Form]:
    """Every form of these people."""
    for name, (write, facts) in _TEXTS.items():
        yield Form(name=name, content=write(persons).encode(), **facts)
    yield Form(name="gbk-header", content=_TEXTS["csv-chinese"][0](persons).encode("gbk"))
    padded = "".join(f"{one.email}:{one.password}\n" for one in persons).encode("utf-16-le") + bytes(400)
    yield Form(name="combo-utf-16-padded", content=padded, **_SECRET)
