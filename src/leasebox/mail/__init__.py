"""Mail coming in: SMTP, MIME, sender authentication, codes and links, threads, reading."""
