"""What mail programs write of their own around an answer or a forwarded mail, in the languages that they speak.

Alternatives of regular expressions, compared without case. Sources: RFC 5256 §2.1 and the programs' language packs.
"""

from typing import Final

REPLY_PREFIX: Final = (
    "re|aw|antw|antwort|sv|svar|odp|ynt|res|resp|rif|r|vá|απ|ответ|отв|답장|회신|返信|返回|回复|回覆|答复|答覆"
    "|回信|trả lời|رد|השב"
)
"""Begins the subject of an answer."""
FORWARD_PREFIX: Final = (
    "fwd?|wg|wtr|tr|rv|enc|i|doorst|vs|vl|vb|pd|yml|ilt|tov|πρθ|пересл|전달|转发|轉寄|轉發|転送|إعادة توجيه"
)
"""Begins the subject of a forwarded mail. Nordic programs say VS for it, Finnish ones for an answer."""
WROTE: Final = (
    "wrote|writes|schrieb|a écrit|écrivait|escribió|escreveu|ha scritto|schreef|napisał\\(?a?\\)?|pisze|yazdı"
    "|skrev|kirjoitti|írta|napsal\\(?a?\\)?|написал\\(?а?\\)?|писал\\(?а?\\)?|пише|пишет|đã viết|menulis|كتب"
    "|έγραψε|a scris|تمت كتابة"
)
"""The verb of "On … wrote:", at any place in the sentence."""
WROTE_UNSPACED: Final = "写道|寫道|のメール|さんは書きました|님이 작성|작성|님의 말"
"""The same where no space stands before it."""
QUOTING: Final = "quoting|zitat von|citando a|citando|citation de|citat från|cytowanie"
ORIGINAL_MESSAGE: Final = (
    "original message|reply message|ursprüngliche nachricht|originalnachricht|message d'origine|message original"
    "|mensaje original|mensagem original|messaggio originale|oorspronkelijk bericht|исходное сообщение"
    "|оригинальное сообщение|原始邮件|原始郵件|原邮件|元のメッセージ|원본 메시지|원본 메일|oryginalna wiadomość"
    "|původní zpráva|ursprungligt meddelande|opprinnelig melding|oprindelig meddelelse|oprindelig besked"
    "|alkuperäinen viesti|orijinal mesaj|eredeti üzenet"
)
"""Between dashes, above the mail that is answered."""
FORWARDED_MESSAGE: Final = (
    "forwarded message|weitergeleitete nachricht|message transféré|mensaje reenviado|mensagem encaminhada"
    "|messaggio inoltrato|doorgestuurd bericht|пересылаемое сообщение|пересланное сообщение|转发|轉寄|転送"
    "|전달된 메[일시]|przekazana wiadomość|vidarebefordrat meddelande"
)
"""After dashes, above a mail that is handed on."""
FROM: Final = (
    "from|von|de|da|van|od|kimden|gönderen|от|от кого|від|发件人|發件人|寄件者|差出人|送信者|보낸 사람|보낸사람"
    "|fra|från|lähettäjä|feladó|expéditeur|mittente|remetente"
)
SENT: Final = (
    "sent|date|gesendet|datum|dato|envoyé|envoyé le|envoyée|message du|date d'envoi|enviado|enviado el|enviado em"
    "|enviada|enviada em|fecha|data|data invio|inviato|verzonden|wysłano|skickat|sendt|tarih|gönderildi"
    "|gönderme tarihi|отправлено|дата|надіслано|发送时间|发送日期|日期|寄件日期|傳送時間|送信日時|日付|日時"
    "|보낸 날짜|보낸날짜|날짜|lähetetty|odesláno|elküldve"
)
TO: Final = (
    "to|an|à|a|para|aan|кому|收件人|收件者|宛先|받는 사람|받는사람|do|till|til|kime|vastaanottaja|komu|címzett"
    "|destinataire"
)
SUBJECT: Final = (
    "subject|betreff|objet|sujet|asunto|assunto|oggetto|onderwerp|тема|主题|主題|主旨|件名|제목|temat|ämne|emne"
    "|konu|aihe|předmět|tárgy"
)
COPY: Final = "cc|kopie|copie|copie à|cópia|copia|копия|抄送|副本|참조"
SENT_FROM_PHONE: Final = (
    "sent from (?:my |your |outlook|mail|yahoo|proton|samsung|gmail|\\S+(?:<http\\S+)?\\Z)|sent with |sent via "
    "|get outlook for|(?:von meinem .{2,30} gesendet|gesendet (?:von|mit|über) )"
    "|envoyé (?:de|depuis|à partir d[e']) ?(?:mon |ma |l|outlook|yahoo)"
    "|enviado (?:desde|do|a partir do|de) (?:mi|meu|outlook|yahoo)|inviato da(?:l mio|lla mia)? "
    "|verstuurd vanaf mijn|verzonden (?:vanaf|met)|отправлено (?:с|из) |发自我的|發自我的|從我的 .{2,30} 傳送"
    "|从我的 .{2,30} 发送|.{2,30}から送信|나의 .{2,30}에서 보냄|skickat från min|wysłane z |sendt fra min"
    "|.{2,30} gönderildi"
)
"""Begins (or is) the line that phones and web mailers put under every mail."""
REPLY_ABOVE: Final = (
    "reply above this line|reply above the line|antworten sie (?:bitte )?(?:oberhalb|über) dieser linie"
    "|antworten sie (?:bitte )?(?:oberhalb|über) dieser zeile|répondez au-dessus de cette ligne"
    "|responda (?:por )?encima de esta línea"
)
