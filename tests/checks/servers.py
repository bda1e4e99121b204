"""How each real server is started, by name: what a shell in its tree does.

Files are made anew each time, and the server stays in the foreground. FIRST and SECOND stand for
two ports on 127.0.0.1; /mnt has a certificate and its key. There is an account joe with the
password secret where a server knows accounts.
"""

from __future__ import annotations

_DOVECOT = """
mkdir -p /tmp/mail && chmod 1777 /tmp/mail
cat >/tmp/conf <<END
protocols = PROTOCOL
listen = 127.0.0.1
base_dir = /run/dovecot
log_path = /dev/stderr
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
disable_plaintext_auth = no
ssl_cert = </mnt/cert.pem
ssl_key = </mnt/key.pem
mail_location = maildir:/tmp/mail/%u
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/tmp/mail
}
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
service PROTOCOL-login {
  inet_listener PROTOCOL {
    port = FIRST
  }
  inet_listener PROTOCOLs {
    port = SECOND
    ssl = yes
  }
}
END
exec dovecot -F -c /tmp/conf
"""

_INETD = """
echo "127.0.0.1:FIRST stream tcp nowait root COMMAND" >/tmp/inetd
exec inetd -i /tmp/inetd
"""

SCRIPTS = {
    "nginx": """
mkdir -p /tmp/www && echo "It works" >/tmp/www/index.html && chmod -R a+rX /tmp
cat >/tmp/conf <<END
daemon off;
error_log stderr;
pid /tmp/pid;
events {}
http {
  access_log off;
  server {
    listen 127.0.0.1:FIRST;
    listen 127.0.0.1:SECOND ssl;
    ssl_certificate /mnt/cert.pem;
    ssl_certificate_key /mnt/key.pem;
    root /tmp/www;
  }
}
END
exec nginx -c /tmp/conf
""",
    "tinyproxy": """
mkdir -p /tmp/www && echo "It works" >/tmp/www/index.html && chmod -R a+rX /tmp
cat >/tmp/web <<END
error_log stderr;
pid /tmp/pid;
events {}
http {
  access_log off;
  server { listen 127.0.0.1:SECOND; root /tmp/www; }
}
END
nginx -c /tmp/web
printf "Port FIRST\\nListen 127.0.0.1\\nAllow 127.0.0.1\\nTimeout 60\\n" >/tmp/conf
exec tinyproxy -d -c /tmp/conf
""",
    "vsftpd": """
mkdir -p /srv/ftp /run/vsftpd/empty && echo fine >/srv/ftp/status && chmod -R a+rX /srv
cat >/tmp/conf <<END
listen=YES
listen_address=127.0.0.1
listen_port=FIRST
background=NO
anonymous_enable=YES
local_enable=YES
anon_root=/srv/ftp
secure_chroot_dir=/run/vsftpd/empty
pam_service_name=vsftpd
delay_failed_login=0
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
ssl_enable=YES
allow_anon_ssl=YES
force_local_logins_ssl=NO
force_local_data_ssl=NO
rsa_cert_file=/mnt/cert.pem
rsa_private_key_file=/mnt/key.pem
END
exec vsftpd /tmp/conf
""",
    "postfix": """
postconf -e inet_interfaces=127.0.0.1 inet_protocols=ipv4 myhostname=mail.example.test \\
    smtpd_peername_lookup=no maillog_file=/dev/stdout mydestination= local_recipient_maps= \\
    smtpd_tls_security_level=may smtpd_tls_chain_files=/mnt/key.pem,/mnt/cert.pem
postconf -M "FIRST/inet=FIRST inet n - n - - smtpd"
postconf -M "SECOND/inet=SECOND inet n - n - - smtpd"
postconf -MX smtp/inet
exec postfix start-fg
""",
    "dovecot": _DOVECOT.replace("PROTOCOL", "imap"),
    "dovecot-pop": _DOVECOT.replace("PROTOCOL", "pop3"),
    "leafnode": """
mkdir -p /etc/news/leafnode
cat >/etc/news/leafnode/config <<END
server = 127.0.0.1
expire = 9
hostname = news.lvsd-lab.net
END
"""
    + _INETD.replace("COMMAND", "/usr/sbin/leafnode leafnode"),
    "echo": _INETD.replace("COMMAND", "/bin/cat cat"),
    "unbound": """
cat >/tmp/conf <<END
server:
  interface: 127.0.0.1@FIRST
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  local-zone: "example.test." static
  local-data: "www.example.test. A 192.0.2.7"
END
exec unbound -d -c /tmp/conf
""",
    "slapd": """
mkdir -p /tmp/db
cat >/tmp/conf <<END
include /etc/ldap/schema/core.schema
TLSCertificateFile /mnt/cert.pem
TLSCertificateKeyFile /mnt/key.pem
database ldif
directory /tmp/db
suffix "dc=example"
rootdn "cn=joe,dc=example"
rootpw secret
END
slapadd -f /tmp/conf <<END
dn: dc=example
objectClass: dcObject
objectClass: organization
dc: example
o: x
END
exec slapd -d 0 -f /tmp/conf -h "ldap://127.0.0.1:FIRST ldaps://127.0.0.1:SECOND"
""",
    "mariadb": """
mkdir -p /tmp/db/mysql && chown -R daemon /tmp/db
{ echo "use mysql;"; cat /usr/share/mysql/mysql_system_tables.sql; } |
    mariadbd --no-defaults --user=daemon --datadir=/tmp/db --bootstrap
cat >/tmp/init <<END
create database test;
create user joe@'%' identified by 'secret';
grant select on test.* to joe@'%';
END
chmod a+r /tmp/init
exec mariadbd --no-defaults --user=daemon --datadir=/tmp/db --bind-address=127.0.0.1 --port=FIRST \\
    --socket=/tmp/socket --pid-file=/tmp/pid --skip-name-resolve --init-file=/tmp/init \\
    --ssl-cert=/mnt/cert.pem --ssl-key=/mnt/key.pem
""",
    "postgresql": """
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir /tmp/pg && chown postgres /tmp/pg && echo secret >/tmp/password && chmod a+r /tmp/password
as="setpriv --reuid=postgres --regid=postgres --clear-groups"
$as "$bin/initdb" -D /tmp/pg -U joe -A scram-sha-256 --pwfile=/tmp/password --no-sync >/dev/null
install -o postgres -m 600 /mnt/key.pem /tmp/pg/key.pem
exec $as "$bin/postgres" -D /tmp/pg -p FIRST -h 127.0.0.1 -k /tmp/pg -F \\
    --ssl=on --ssl_cert_file=/mnt/cert.pem --ssl_key_file=/tmp/pg/key.pem
""",
    "freeradius": """
mkdir -m 700 /tmp/radius && echo 'joe Cleartext-Password := "secret"' >/tmp/radius/users
cat >/tmp/radius/radiusd.conf <<END
libdir = /usr/lib/freeradius
run_dir = /tmp/radius
modules {
  pap {
  }
  files {
    usersfile = /tmp/radius/users
  }
}
client localhost {
  ipaddr = 127.0.0.1
  secret = testing123
  require_message_authenticator = yes
}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = FIRST
  }
  authorize {
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
}
END
exec freeradius -f -l stdout -d /tmp/radius -D /usr/share/freeradius
""",
    "kamailio": """
cat >/tmp/conf <<END
children=1
tcp_children=1
listen=udp:127.0.0.1:FIRST
listen=tcp:127.0.0.1:FIRST
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
request_route {
  if (\\$rU == "gone") {
    sl_send_reply("404", "Not here");
  } else {
    sl_send_reply("200", "OK");
  }
}
END
exec kamailio -DD -E -m 16 -M 4 -f /tmp/conf
""",
}
