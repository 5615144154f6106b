"""What mails call a code, and what they call other numbers, in the languages that we read.

Notation: see otp_trie. Kinds: `strong` names a code for signing in by itself; `code` may name any code; `weak` names
something that may be one; `other` names a number that is none; `mild` may name
one, unless a code is spoken of before it in the same sentence; `do` asks to type it; `auth` says what it is for;
`old` says that it no longer counts; `deal` speaks of shopping, travel or meetings.
"""

from typing import Final

from leasebox.mail.otp_trie import Words

_STRONG: Final = """
verification code, verify code, confirmation code, security code, one-time code, one time code, one-time password
one time password, one-time passcode, one-time pin, single-use code, otp., otps., passcode, login code, log-in code
log in code, sign-in code, sign in code, signin code, access code, authentication code, authenticator code, 2fa.
mfa.
2fa code, mfa code, totp., activation code, reset code, recovery code, validation code, device code, user code
guard code, pin code, pin number, security pin, login pin, registration code, magic code, temporary code
temporary login code, temporary pin, pickup pin, two-factor code, two-step code, security number
verification number
verification pin, security token, 2fa token, sign-up code, signup code, identity code, door code, unlock code
código de verificación, codigo de verificacion, código de verificação, codigo de verificacao, código de confirmación
código de confirmação, código de confirmacao, código de seguridad, código de segurança, código de acceso
código de acesso, codigo de acceso, codigo de acesso, código de autenticación, código de autenticação
código de inicio de sesión, código de activación, código de ativação, código de un solo uso, código de uso único
clave dinámica, clave de acceso, clave de un solo uso, clave temporal, contraseña de un solo uso
contraseña temporal
código de login, código otp, token de segurança, senha temporária, senha de uso único, palavra-passe única
code de vérification, code de verification, code de confirmation, code de sécurité, code d'accès, code d’accès
code de connexion, code d'authentification, code d'activation, code à usage unique, code unique, code secret
mot de passe à usage unique, mot de passe temporaire, mot de passe unique, code de validation, code confidentiel
codice di verifica, codice di conferma, codice di sicurezza, codice di accesso, codice d'accesso, codice otp
codice di autenticazione, codice monouso, codice di attivazione, codice usa e getta, password monouso
password temporanea, codice temporaneo, codul de verificare, codul tău de verificare, cod de verificare
cod de confirmare, codul de confirmare, cod de securitate, codi de verificació, codi de seguretat
bestätigungscode, verifizierungscode, sicherheitscode, anmeldecode, zugangscode, einmalcode, einmalpasswort
einmalkennwort, freischaltcode, aktivierungscode, prüfcode, verifikationscode, authentifizierungscode, logincode
login-code, einmal-code, tan., smstan, mtan, zugangs-pin, anmelde-code, bestätigungs-code
verificatiecode, bevestigingscode, beveiligingscode, inlogcode, toegangscode, eenmalige code, activeringscode
eenmalig wachtwoord, verifieringskod, bekräftelsekod, säkerhetskod, engångskod, inloggningskod, aktiveringskod
engångslösenord, åtkomstkod, bekræftelseskode, verifikationskode, verificeringskode, engangskode, sikkerhedskode
sikkerhetskode, loginkode, adgangskode, bekreftelseskode, verifiseringskode, engangspassord, innloggingskode
vahvistuskoodi, varmistuskoodi, kertakäyttökoodi, turvakoodi, kirjautumiskoodi, kertakoodi, tunnuskoodi
ellenőrző kód, megerősítő kód, biztonsági kód, belépési kód, egyszer használatos, hitelesítő kód, aktiváló kód
kod weryfikacyjny, kod potwierdzający, kod bezpieczeństwa, kod dostępu, kod logowania, kod jednorazowy
jednorazowy kod, hasło jednorazowe, kod aktywacyjny, kod autoryzacyjny, kodu weryfikacyjnego
ověřovací kód, potvrzovací kód, bezpečnostní kód, jednorázový kód, přihlašovací kód, jednorázové heslo
overovací kód, potvrdzovací kód, bezpečnostný kód, jednorazový kód
doğrulama kod, onay kod, güvenlik kod, giriş kod, aktivasyon kod, tek kullanımlık, erişim kod
код подтверждения, код для входа, код доступа, код проверки, код безопасности, код авторизации, код активации
проверочный код, одноразовый код, одноразовый пароль, одноразового, временный пароль, код верификации
кода подтверждения, код входа, пин-код., пин.
код підтвердження, код для входу, код доступу, код перевірки, код безпеки, одноразовий код, одноразовий пароль
код за потвърждение, код за потвърждаване, код за достъп, еднократен код, еднократна парола, код за сигурност
kod za potvrdu, verifikacioni kod, kontrolni kod, kod za prijavu, kod za verifikaciju
κωδικός επαλήθευσης, κωδικό επαλήθευσης, κωδικός επιβεβαίωσης, κωδικός ασφαλείας, κωδικός πρόσβασης
κωδικός μίας χρήσης, κωδικός μιας χρήσης
验证码, 校验码, 动态密码, 动态码, 动态口令, 确认码, 安全码, 激活码, 登录码, 一次性密码, 一次性代码, 短信码, 安全代码
验证代码
驗證碼, 校驗碼, 動態密碼, 確認碼, 安全碼, 一次性密碼, 一次性驗證碼, 認證碼, 驗證代碼, 登入碼, 安全代碼
認証コード, 認証番号, 確認コード, 確認番号, ワンタイムパスワード, ワンタイムコード, 検証コード, セキュリティコード
ログインコード, パスコード, 認証用コード, 本人確認コード, 暗証番号, 認証キー, ワンタイムキー
인증번호, 인증 번호, 인증코드, 인증 코드, 확인 코드, 확인코드, 보안 코드, 보안코드, 일회용 비밀번호, 일회용 코드
로그인 코드, 로그인코드, 일회용비밀번호, 임시 비밀번호, 인증문자, 접속 코드
رمز التحقق, رمز التأكيد, رمز الدخول, رمز الأمان, كلمة المرور لمرة واحدة, رمز التفعيل, كود التحقق, كود التفعيل
رمز المصادقة, رمز لمرة واحدة, رمز تأكيد, رمز تحقق
کد تایید, کد تأیید, رمز یکبار مصرف, رمز پویا, کد فعال‌سازی, کد ورود, کد احراز هویت, تصدیقی کوڈ, توثیقی کوڈ
קוד אימות, קוד האימות, קוד כניסה, קוד הכניסה, סיסמה חד-פעמית, קוד חד-פעמי, קוד אישור, קוד האישור
सत्यापन कोड, ओटीपी, वेरिफिकेशन कोड, एक बार का पासवर्ड, वन टाइम पासवर्ड, पुष्टिकरण कोड, सुरक्षा कोड, लॉगिन कोड
सत्यापन संख्या
যাচাইকরণ কোড, ওটিপি, যাচাই কোড, নিশ্চিতকরণ কোড, पडताळणी कोड, சரிபார்ப்புக் குறியீடு, ధృవీకరణ కోడ్
mã xác minh, mã xác nhận, mã xác thực, mã otp, mã bảo mật, mã đăng nhập, mã kích hoạt, mật khẩu một lần
kode verifikasi, kode otp, kode keamanan, kode konfirmasi, kode masuk, kode akses, kode aktivasi, kata sandi sekali
kode sekali pakai, kod pengesahan, kod keselamatan, kata laluan sekali, kod akses, kod log masuk
รหัสยืนยัน, รหัส otp, รหัสความปลอดภัย, รหัสผ่านครั้งเดียว, โอทีพี, รหัสเข้าสู่ระบบ, รหัสตรวจสอบ
nambari ya uthibitisho, msimbo wa uthibitisho, namba ya uthibitisho, kodi ya uthibitisho
"""

_CODE: Final = """
*code., pin., *pins., code-, código, codigo, codi., codice, codul, cod., *coden., *kode., *koden., koderne, *kod.
kodu., kodunuz, kodun., kodem., kodom., koda., kodi., *koodi, kód, *kódja, kódod, kods., kodas, код., кода., коду.
кодом.
кодът., κωδικ, 代码, 编码, 代碼, 编号码, 密码, 密碼, コード, ナンバー, パスワード, 코드, 비밀번호
رمز, كود, کد, کوڈ, קוד, कोड, কোড, குறியீடு, కోడ్, mã., kode, msimbo, รหัส, โค้ด, clave., senha., contraseña.
wachtwoord., password., passwort., kennwort., пароль., пароля., passphrase, jelszó, hasło., heslo., şifre, lösenord.
salasana
kodas., kodea., slaptažod, parole., κωδ.
"""

_WEAK: Final = """
digits, digit number, number., token., confirmation., verification., authentication., key., figures
números., número., numero., chiffres, cifras, cifre, zahl., ziffern, nummer., cijfers, siffror, siffrorna, cyfry
цифры, цифр., число., цифри, rakamlar, numerot, 数字, 号码, 號碼, 番号, 数字を, 번호, 숫자, الأرقام, الرقم
número abaixo
numéro., getal., nombor., angka, nambari, số., ตัวเลข, หมายเลข, अंक, chữ số, token de, bekräftelse., bestätigung.
"""

_OTHER: Final = """
code review, code of conduct, code coverage, codebase, code base, code name, student, user number, style code
stock code, team code
order, pre-order, invoice, receipt, tracking, shipment, parcel, package, ref., ref no, refs., reference, ticket
case., case no, case id, customer, client., account, policy, serial, zip., zip code, zipcode
postcode, postal, post code, area code, country code, dialling code, error, error code, status code, exit code
exit.
http., response code, source code, promo, promo code, promotional code, discount, discount code, coupon, coupon code
voucher, gift, gift card, gift code, referral, referral code, invite code, offer code, product code, item, sku.
tax code, tax id, tax no, tax., dress code, sort code, sort., swift, bic., iban, routing, barcode, bar code, qr code
qr., zone code, zone., location code, course, class code, budget code, occupation code, booking, reservation
confirmation number, confirmation no, flight, gate, seat, row., room, version, telephone, tel.
call., fax., dial, ext., extension, card ending, ending in, ending with, ends in, ends with, ending
card number, isbn, issn, cve, commit, build, job, issue, pull request, pr., id., request, request id, meeting
meeting id, conference, txn., suite, ste., p.o. box, po box, pmb., box., vat
plate, meter., group no, employee, copyright, since., amount, total, balance, price, color, colour, color code
colour code, colour codes, color codes, model code, product, street, st., highway, apt., unit., floor.
building, no., nr., apartment, station, abn., ein., crn., article, chapter, section, step., rank, score, points
authorisation code, auth code, approval code, statement, contract, project code, training code, message id, mail id
batch, lot., part number, part no, catalog, bin., port., pantone, isin, wkn., employer, registered
pedido, factura, orden., compra, envío, seguimiento, rastreo, referencia, ref, código postal, código de barras
código de cliente, cliente, código de reserva, reserva, código de descuento, código promocional, código de cupón
cupón, descuento, código de rastreo, código de seguimiento, tel, tarjeta, terminada en, terminado en, cuenta
importe, total., código de producto, código de error, boleto, asiento, nif., cif., c.p., cp., llame, llama
código país
encomenda, fatura, nota fiscal, protocolo, telefone, cartão, final., agência, cep., cnpj, cpf., valor
código de rastreio, código de rastreamento, código do produto, código de desconto, cupom, desconto, código de erro
central., linha digitável, matrícula, inscrição, ligue
commande, facture, colis, suivi, référence, réf., dossier, client, n° client, code postal, code promo, code barre
code-barres, code cadeau, code de réduction, code réduction, code de suivi, code produit, code erreur, code d'erreur
code parrain, code avantage, tél., appelez, service client, carte, se terminant par, rcs., siret, siren
capital, montant, compte, bon de, réservation, code de réservation, vol., billet, code client, code guichet
ordine, fattura, spedizione, tracciamento, riferimento, rif., codice postale, codice fiscale, codice sconto
codice promozionale, codice promo, codice a barre, codice di tracciamento, codice cliente, codice prodotto
codice di prenotazione, codice prenotazione, codice errore, sconto, cap., carta, p.iva, partita iva, importo
conto, prenotazione, biglietto, chiama, codice regalo, buono
comanda, comenzii, cod poștal, cod promo, cod de reducere, factură
bestellung, bestellnummer, bestellnr, auftrag, auftragsnummer, rechnung, rechnungsnummer, kundennummer, kundennr
kunden-nr, sendung, sendungsnummer, paketnummer, vorgang, vorgangsnummer, ticketnummer, aktenzeichen, referenz
gutschein, gutscheincode, rabatt, rabattcode, aktionscode, aktions, promocode, vorteilscode, plz., postleitzahl
steuernummer, vertragsnummer, konto, kontonummer, karte, endet auf, endend auf, endziffern, hrb.
buchung, buchungscode, buchungsnummer, buchungsnr, fehlercode, fehler, betrag, seriennummer, artikelnummer
produktcode
postfach, strichcode, zählernummer, mitgliedsnummer, bankleitzahl, blz., ust-id, flug, überweisung, fahrgestell
abholnummer, referenznummer, quellcode, farbcode, ländercode, vorwahl, rufnummer, hotline, durchwahl
bestelling, bestelnummer, ordernummer, factuur, factuurnummer, klantnummer, klant, pakket, postbus, kortingscode
korting, actiecode, cadeaucode, rekening, rekeningnummer, btw., kvk., boeking, boekingscode, foutcode
telefoonnummer
kvitto, kvittonummer, ordernr, beställning, kundnummer, fakturanummer, faktura, postnummer, rabattkod, org.nr
presentkod, kortnummer, belopp, bokningsnummer, bokningskod, felkod, ordrenr, ordrenummer, kundenr, kundenummer
cvr.
rabatkode, rabattkode, fejlkode, feilkode, bookingnummer, gavekode, postnr, telefonnummer, tlf., orgnr
tilausnumero, tilaus, asiakasnumero, lasku, viite, postinumero, alennuskoodi, puhelin, varausnumero, virhekoodi
y-tunnus, rendelés, rendelésszám, számla, ügyfélszám, irányítószám, kuponkód, kedvezménykód, telefonszám, hibakód
zamówien, nr zamówienia, faktur, przesyłk, paczk, klient, kod pocztowy, kod rabatowy, kod promocyjny, kod błędu
kod kreskowy, rabat, infolinia, kwota, nip., regon, rezerwacj, numer, kod odbioru
objednávk, č., zákazník, psč., slevový kód, slevov, ič., ičo., dič., kód chyby, variabilní, účet
sipariş, abone, müşteri no, müşteri numara, kargo, takip, posta kodu, indirim, indirim kodu, kupon, kupon kodu
promosyon kodu, hata kodu, tutar, rezervasyon, referans, ürün kodu, barkod, dosya no
заказ, заказа, трек-номер, трек, посылк, накладн, обращени, клиент, индекс, телефон, тел.
промокод, скидк, купон, код ошибки, ошибк, штрих-код, сумма, сумму, инн., огрн, квитанц, договор, номер заказа
бронь
брониров, код бронирования, код города, исходный код, код товара, артикул, билет, рейс, лицевой, qr-код
замовленн, рахунок, посилк, накладної, відділенн, картк, індекс, знижк, код помилки, помилк, сума, договір
поръчк, фактур, пратк, клиентски, пощенски код, отстъпк
παραγγελί, τιμολόγι, πελάτη, αποστολ, τ.κ., ταχυδρομικ, έκπτωσ, εκπτωτικ, κουπόνι, τηλ., αφμ., κράτησ
订单, 订单号, 单号, 快递, 快递单号, 运单, 邮编, 邮政编码, 优惠码, 优惠券, 券号, 兑换码, 折扣码, 邀请码, 推荐码, 发票
金额, 客服, 热线, 致电
电话, 尾号, 卡号, 会员号, 编号, 工单, 错误代码, 错误码, 二维码, 条形码, 预订号, 航班, 取件码, 流水号, 区号, 拨打
訂單, 訂單編號, 單號, 物流, 郵遞區號, 優惠碼, 優惠券, 折扣碼, 發票, 發票號碼, 隨機碼, 統一編號, 金額, 專線, 電話
末四碼, 卡號
編號, 錯誤代碼, 條碼, 訂位代號, 序號, 推薦碼, 邀請碼
注文番号, 注文, お問い合わせ番号, 追跡番号, 送り状番号, 伝票番号, 受付番号, お客様番号, 顧客番号, 会員番号, 予約番号
予約, 郵便番号
クーポンコード, クーポン, 割引コード, 招待コード, プロモーションコード, エラーコード, 商品コード, 商品番号
請求書番号, 電話番号
口座番号, カード番号, 合計, 円, バーコード, qrコード, 管理番号, 便名, 支店番号, ソースコード, 〒
주문번호, 주문 번호, 주문, 운송장, 송장, 택배, 배송, 쿠폰, 쿠폰번호, 쿠폰 번호, 할인코드, 할인 코드, 추천인
추천 코드, 우편번호, 고객센터, 전화
금액, 결제, 예약번호, 예약 번호, 예약, 계좌, 카드번호, 회원번호, 접수번호, 오류 코드, 바코드, 초대 코드, 송장번호
사업자
رقم الطلب, الطلب, رقم التتبع, التتبع, الفاتورة, رقم الفاتورة, المبلغ, كود الخصم, رمز الخصم, الخصم, قسيمة
الرمز البريدي
اتصل, رقم الهاتف, المنتهية, رمز الخطأ, رقم الحجز, الحجز, شماره سفارش, سفارش, کد تخفیف, کد پستی, کد پیگیری, تلفن
הזמנה, מספר הזמנה, חשבונית, מעקב, קוד קופון, קוד הנחה, מיקוד, טלפון, קוד שגיאה, סכום
ऑर्डर, आदेश संख्या, बिल, उपभोक्ता, राशि, पिन कोड, शिकायत, ट्रैकिंग, कूपन, डिस्काउंट, प्रोमो, फोन, खाता, कार्ड
संदर्भ, चालान
অর্ডার, ইনভয়েস, কুপন, পোস্ট কোড, ফোন, হিসাব
mã đơn hàng, đơn hàng, mã vận đơn, vận đơn, mã giảm giá, mã khuyến mãi, khuyến mãi, mã bưu
hóa đơn, mã đặt chỗ, mã lỗi, mã khách hàng, số tài khoản, tổng., mã giới thiệu, mã số thuế, mã sản phẩm
pesanan, nomor pesanan, resi, kode pos, kode promo, kode diskon, kode voucher, diskon, telepon, telp.
nomor rekening, kode booking, kode referral, kode error, kode produk, tagihan, pelanggan, rujukan, poskod
kod promosi, kod diskaun, kod rujukan, resit, invois
คำสั่งซื้อ, เลขพัสดุ, พัสดุ, โค้ดส่วนลด, ส่วนลด, รหัสไปรษณีย์, โทร, ยอด, ใบแจ้งหนี้, รหัสสินค้า, รหัสส่วนลด, บัญชี
oda., ankara, simu., punguzo, order., numero ng order
"""

_MILD: Final = """
account., acct, member, card., page., line., request., session, mobile, phone, payment, transaction, company, model.
address
license, licence, screen, website, order page, purchase
konto., karte., compte., carte., cuenta., tarjeta., conta., cartão., conto., carta., hesap, kart., карта, карты
счёт, счет
账号, 手机号, 帳號, 手機, アカウント, الحساب, هاتف, بطاقة, telefon, telefono, teléfono, téléphone, telefoon
điện thoại
"""

_DO: Final = """
enter., entering, use., using, type., typing, paste., copy., input., submit, key in, fill in, quote.
introduce, introduzca, ingresa, ingrese, ingresar, usa., use el, utiliza, utilice, escribe, escriba, pega, teclea
insira, digite, informe., utilize., utilizar, use o, coloque, introduza
saisissez, saisir, entrez, entrer, utilisez, utiliser, tapez, renseignez, copiez, indiquez
inserisci, inserire, inserisca, digita, usa il, utilizza, immetti, copia
introdu, introduceți, folosește, folosiți, utilizați
gib., geben sie, eingeben, verwende, nutze, nutzen sie, trage, tragen sie, tippe, kopier, benutze
voer., vul., gebruik, typ., typ de, ange., skriv, använd, fyll i, indtast, brug., tast., angi., bruk., syötä, käytä
kirjoita, adja meg, írja be, használja, wpisz, podaj, użyj, wprowadź, przepisz, zadejte, použijte, vložte, opište
zadajte, girin, giriniz, kullanın, yazın, girerek
введите, используйте, укажите, вставьте, впишите, введи., введіть, використайте, вкажіть, въведете, използвайте
unesite, upišite, koristite, εισαγάγετε, εισάγετε, πληκτρολογ, χρησιμοποι, καταχωρ
输入, 填写, 使用, 輸入, 填寫, 入力, ご入力, 記入, 입력, 사용, أدخل, ادخل, استخدم, اكتب, وارد کنید, הזן, הזינו, השתמש
הקלד
दर्ज, डालें, उपयोग, प्रयोग, লিখুন, ব্যবহার, প্রবেশ, nhập, sử dụng, dùng, masukkan, gunakan, guna., ketik, ใส่, กรอก
ใช้, ป้อน
weka., tumia, ingiza, ilagay, gamitin, ipasok
"""

_AUTH: Final = """
sign in, signing in, sign-in, signin, log in, login, logging in, log-in, logon, verify, verifies, verifying, confirm
authenticat, identity, register, registration, sign up, signing up, sign-up, signup, activate, two-step, two-factor
reset, password, registering, authoriz, authoris, unlock, continue., finish., verification, security, access.
validate
iniciar sesión, inicia sesión, inicio de sesión, acceder, acceso, verifica, confirma, identidad, registro
restablecer
entrar, iniciar sessão, identidade, cadastro, registo, redefinir, recuperar, autoriz, validar, autentica
connexion, connecter, vérifi, identité, inscription, confirmer, réinitialis, valider, activer, autoris, sécurité
acced, accesso, identità, registrazione, iscrizione, conferma, reimposta, sicurezza, autenticaz
anmeld, einlogg, bestätig, registrier, identität, verifizier, zugang, freigabe, freigeben, zurücksetzen, autorisier
inlogg, aanmeld, bevestig, verifi, identiteit, registr, logga in, inloggning, bekräfta, log ind, logg inn, bekræft
kirjaud, vahvist, rekisteröi, bejelentkez, belépés, megerősít, regisztr, zalogowa, logowani, potwierd, rejestracj
weryfik, přihlá, potvr, ověř, registrac, giriş, doğrula, onayla, kayıt, oturum, kimlik
войти, вход, входа, подтверд, регистрац, авториз, личност, сброс, увійти, вхід, підтверд, реєстрац, вписване, потвър
σύνδεσ, επαλήθευσ, επιβεβαί, εγγραφ, ταυτότητ
登录, 登入, 验证, 驗證, 注册, 註冊, 绑定, 綁定, 确认, 確認, 身份, 重置, ログイン, 認証, 登録, 本人, 로그인, 인증
본인, 확인, 가입, 재설정
تسجيل, تحقق, التحقق, تأكيد, الدخول, هويتك, ورود, تایید, כניסה, אימות, התחבר, הרשמה, लॉगिन, सत्यापन, साइन, पुष्टि
যাচাই, লগইন
đăng nhập, xác minh, xác nhận, xác thực, đăng ký, masuk., verifikasi, konfirmasi, daftar, log masuk, pengesahan
เข้าสู่ระบบ, ยืนยัน, สมัคร, uthibitisho, ingia, mag-login
"""

_OLD: Final = """
no longer, has expired, have expired, expired., void., old., earlier, previous, previously, incorrect, wrong.
invalid.
not used, approved, replaced, ya no es, caducado, anterior, venció, expirou, antigo, n'est plus, ancien, précédent
expiré, scaduto, precedente, non è più, abgelaufen, nicht mehr, vorherig, alte., alter., verlopen, niet meer, oude.
wygasł, poprzedni, больше не, истёк, истек., прежний, старый, 已过期, 已失效, 已過期, 期限切れ, 無効, 만료되었
منتهي, geçersiz
hết hạn rồi, tidak berlaku lagi, upphört, udløbet
"""

_DEAL: Final = """
% off, % de descuento, checkout, check-out, at the till, cash value, coupon, promo, discount, gift card, redeem
free delivery, shop now, flight, boarding, hotel, check-in, itinerary, meeting id, join the meeting, join meeting
conference id, dial-in, webinar, refer., friends ride, your next order, orders over, rsvp, meeting:, zoom.
descuento, próxima compra, cupón, desconto, cupom, compras acima, réduction, code promo, dès 50, remise., sconto
alla cassa, rabatt, einlösbar, gutschein, warenkorb, einkauf, korting, rabat, zakupach, indirim, скидк, промокод
знижк
优惠, 满减, 折扣, 優惠, クーポン, 割引, 쿠폰, 할인, خصم, تخفیف, छूट, giảm giá, diskon, ส่วนลด, réservation
reserva confirmada
"""

LABELS: Final = Words(
    {
        "mild": _MILD,
        "other": _OTHER,
        "strong": _STRONG,
        "deal": _DEAL,
        "code": _CODE,
        "old": _OLD,
        "do": _DO,
        "weak": _WEAK,
        "auth": _AUTH,
    }
)
"""All tables. A phrase that stands in two counts as the first of these."""
