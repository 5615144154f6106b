"""What mails call the link that verifies, signs in, resets or invites, and what they call the others.

Notation: see otp_trie. Kinds: `go` is the act that we look for; `maybe` is a button that may be it; `no` is another
link for sure (help, legal, unsubscribe, refuse); `done` says that nothing is left to do.
"""

from typing import Final

from leasebox.mail.otp_trie import Words

_GO: Final = """
verify my, verify your, verify email, verify e-mail, verify account, verify address, verify now, verify.
verify with
verify it, to verify, confirm email, confirm e-mail, confirm my, confirm your, confirm account, confirm address
confirm subscription, confirm registration, confirm change, confirm., confirm it, confirm that, confirm this
confirms
activate, activation, validate, sign in to, sign in., sign-in link, sign in with, sign-in., signin., log in to
log in.
login link, log in with, magic link, sign me in, log me in, reset password, reset your password, reset my password
reset the password, reset link, reset., set password, set a password, set your password, choose a password
new password
create password, create your password, change password, change your password, set up your account, accept invit
accept.
join the team, join the workspace, join the project, join the organi, join the group, join now, join team
join workspace, join your, invited you, invitation, accept the, approve, authorize, authorise
allow sign-in, yes. it's me, yes it's me, it's me., this was me, this is me, this is my address, yes. subscribe
subscribe me, opt in, opt-in, finish registration, finish signing, complete registration, complete your registration
complete sign, complete your sign, finish your sign, finish your registration, unlock, recover your
mailbox is yours
this address is yours, this mailbox, email is yours, prove, complete setup, finish setting up, finish setup
complete your account, stay on this list, claim your account, get started with your account, say yes
link your, verify identity, verification link, confirmation link, your okay, set up your password, magic sign
bestätig, verifizier, aktivier, anmelden, einloggen, passwort zurücksetzen, passwort neu, neues passwort
passwort ändern
passwort festlegen, einladung, beitreten, freischalt, registrierung abschließen, zurücksetzen, annehmen, das bin ich
confirme, confirmer, vérifi, activer, activez, connexion, se connecter, connectez, réinitialis, nouveau mot de passe
rejoindre, accepter, valider, validez, c'est moi, finaliser, débloquer
confirma, verifica, activa, inicia sesión, iniciar sesión, restablec, nueva contraseña, crear contraseña, invitaci
acepta
únete, valida, completa, desbloque, soy yo
verifique, ative, ativar, redefin, nova senha, criar senha, convite, aceitar, aceite, entrar, validar, concluir
conferma, attiva, accedi, reimposta, nuova password, reset, invito, accetta, unisciti, sblocca
bevestig, verifieer, activeer, inloggen, wachtwoord opnieuw, wachtwoord wijzigen, uitnodiging, accepteer, aanmelden
bekräfta, verifiera, aktivera, logga in, återställ, inbjudan, acceptera, bekræft, aktiver, log ind, nulstil, bekreft
logg inn, tilbakestill, vahvista, aktivoi, kirjaudu, nollaa, potwierd, aktywuj, aktywowa, zaloguj, zresetuj
zaproszeni
ustaw hasło, zweryfikuj, ověř, potvr, aktivova, přihlás, obnovit heslo, megerősít, aktivál, visszaállít, confirmă
activează
doğrula, onayla, etkinleştir, giriş yap, şifre sıfırla, şifrenizi sıfırla, davet, kabul et, parolanızı sıfırla
подтверд, активир, войти, вход., сброс, восстанов, новый пароль, приглаш, принять, завершить регистрац, это я
підтверд, активу, увійти, скинути, відновити, запрош, потвърд, επιβεβαί, επαλήθευ, ενεργοποι, σύνδεση, επαναφορά
验证, 激活, 确认, 登录, 重置, 设置密码, 接受邀请, 加入, 找回密码, 驗證, 啟用, 確認, 登入, 重設, 接受邀請
認証, 有効化, 本登録, 登録を完了, ログイン, 再設定, リセット, 招待, 参加, 承認, 登録完了
인증하, 인증, 확인하, 활성화, 로그인, 재설정, 초대, 수락, 가입 완료, 참여
تأكيد, تفعيل, تحقق, تسجيل الدخول, إعادة تعيين, دعوة, قبول, تایید, فعال, אימות, אשר, הפעל, כניסה, איפוס, הזמנה
सत्यापित, पुष्टि, सक्रिय, लॉगिन, रीसेट, आमंत्रण, স্বীকার, যাচাই, নিশ্চিত
xác nhận, xác minh, kích hoạt, đăng nhập, đặt lại mật khẩu, lời mời, chấp nhận, xác thực
konfirmasi, verifikasi, aktifkan, masuk ke, atur ulang, undangan, terima, sahkan, log masuk, tetapkan semula
ยืนยัน, เปิดใช้งาน, เข้าสู่ระบบ, รีเซ็ต, ตั้งรหัสผ่าน, คำเชิญ, ตอบรับ
thibitisha, washa akaunti
"""

_MAYBE: Final = """
click here, click below, click the, click this, here., continue, get started, tap here, tap the, this link, the link
following link, link below, following address, this page, open this, go to, proceed, next step, yes., hier klicken
klicke
diesen link, über diesen link, weiter., jetzt starten, cliquez, cliquer, ce lien, continuer, haz clic, haga clic
pulsa
este enlace, continuar, clique, este link, clicca, questo link, continua, klik., klik hier, deze link, klicka
kliknij
ten link, tıkla, bağlant, нажмите, перейдите, ссылк, продолжить, натисніть, посилання, 点击, 點擊, 链接, 連結
クリック, アクセス, url
클릭, 버튼, 링크, 누르, اضغط, انقر, الرابط, क्लिक, लिंक, nhấp, bấm, liên kết, klik tautan, tautan, คลิก, ลิงก์
"""

_NO: Final = """
unsubscrib, opt out, opt-out, optout, manage preferences, mail settings, email settings, preferences
notification settings
settings, privacy, terms, legal, imprint, cookie, help., help center, help centre, support, contact us
contact support
contact., faq, questions, learn more, learn how, read more, read how, read., about us, about., blog, view in browser
view online, view this email, web version, browser., download the app, download app, get the app, app store
google play
follow us, facebook, twitter, instagram, linkedin, youtube, view order, view your order, order details, track.
track your
shop., shop now, view invoice, invoice, receipt, add to calendar, webinar, meeting, join the call, survey, review
feedback, rate., report abuse
report., report it, not you, wasn't me, was not me, didn't, did not, deny, decline, no. block, block., block it
cancel
reject, secure your account, secure my account, that was a mistake, resubscribe, docs., documentation, status page
returns, view job, view jobs, pricing, features, see all, what is, dashboard, open document, view document
view it on
watch., invite friends, refer., forward to, manage alerts, why verif, verification works, refuse, remove, delete.
tell us
homepage, website, visit., visit us, follow., share., alerts., upgrade, download., view story, security tips, say no
abmelden vom, abmelden., abbestell, impressum, datenschutz, agb., hilfe, kontakt, nutzungsbedingungen, ablehnen
abbrechen
stornier, im browser, désabonn, se désinscrire, cgu., mentions légales, aide., confidentialité, annuler, refuser
conditions
darse de baja, baja., ayuda, privacidad, términos, cancelar, rechazar, contacto, descadastr, ajuda, privacidade
termos
recusar, cancellati, annulla, disiscri, termini, aiuto, rifiuta, uitschrijv, afmelden, voorwaarden, hulp, weiger
avregistrera, avsluta prenumeration, hjälp, villkor, afmeld, hjælp, avmeld, hjelp, regulamin, polityk, wypisz
rezygn, pomoc
odhlásit, nápověda, leiratkoz, dezabon, yardım, abonelikten, gizlilik, iptal, reddet, отписаться, отпис, правила
помощь, условия
политик, отмен, відписа, умови, допомога, скасувати, 退订, 隐私, 帮助, 条款, 取消订阅, 退訂, 隱私, 說明, 條款
配信停止, よくある質問
利用規約, プライバシー, 退会, お問い合わせ, キャンセル, ヘルプ, 수신거부, 이용약관, 개인정보, 고객센터, 도움말, 취소
مساعدة, إلغاء الاشتراك, الخصوصية, الشروط, لغو اشتراک, עזרה, הסרה, פרטיות, गोपनीयता, सदस्यता समाप्त, मदद, शर्तें
hủy đăng ký, trợ giúp, điều khoản, quyền riêng tư, bantuan, berhenti berlangganan, privasi, syarat, ความช่วยเหลือ
ยกเลิก, นโยบาย, ข้อกำหนด
"""

_DONE: Final = """
has been reset, was reset, has been changed, was changed, has been confirmed, is confirmed, are confirmed
confirmed., verified.
has been verified, is verified, was verified, has been activated, is now active, successfully, order confirmed
order is confirmed
unsubscribed, seat is confirmed, is ready, has shipped, thank you for your order, thanks for your order
we noticed a new
new sign-in to, wurde geändert, wurde bestätigt, wurde zurückgesetzt, ha sido cambiad, a été modifié
è stata modificata, 已修改
変更されました, 변경되었, изменён, изменен
"""

LINK_LABELS: Final = Words({"no": _NO, "done": _DONE, "go": _GO, "maybe": _MAYBE})
"""All tables. A phrase that stands in two counts as the first of these."""
