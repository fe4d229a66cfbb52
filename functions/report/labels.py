"""What the built-in documents call their parts, in the languages they speak."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_KEYS: Final = (
    "invoice|issued|due|buyer|vat_id|description|quantity|unit_price|tax|amount|net|tax_on|total|subtotal|payment|"
    "reference|page|of|empty|enclosures|contents|presented|date|unit|letter_reference|label|value|"
    "delivered|period|tax_number|holder|scan|buyer_reference|reverse-charge|intra-community|export"
)

_TEXTS: Final = {
    "ar": "فاتورة|التاريخ|تاريخ الاستحقاق|فاتورة إلى|الرقم الضريبي|الوصف|الكمية|سعر الوحدة|الضريبة|المبلغ|الصافي|"
    "ضريبة {percent} على {net}|الإجمالي|المجموع الفرعي|الدفع|المرجع|صفحة|من|لا توجد بيانات|المرفقات|المحتويات|"
    "تُمنح هذه الشهادة إلى|التاريخ|"
    "الوحدة|المرجع|البند|القيمة|"
    "تاريخ التوريد|فترة التوريد|الرقم لدى مصلحة الضرائب|صاحب الحساب|امسح الرمز للدفع|مرجعكم|"
    "احتساب عكسي: الضريبة مستحقة على العميل|توريد داخل الاتحاد الأوروبي معفى من الضريبة|تصدير معفى من الضريبة",
    "de": "Rechnung|Datum|Fällig am|Rechnung an|USt-IdNr.|Beschreibung|Menge|Einzelpreis|USt|Betrag|Netto|"
    "USt {percent} auf {net}|Gesamt|Zwischensumme|Zahlung|Verwendungszweck|Seite|von|Keine Einträge|Anlagen|Inhalt|"
    "verliehen an|Datum|"
    "Einheit|Unser Zeichen|Bezeichnung|Wert|"
    "Lieferung/Leistung am|Leistungszeitraum|Steuernummer|Kontoinhaber|Zum Bezahlen scannen|Ihre Referenz|"
    "Steuerschuldnerschaft des Leistungsempfängers|Steuerfreie innergemeinschaftliche Lieferung|"
    "Steuerfreie Ausfuhrlieferung",
    "en": "Invoice|Date|Due|Bill to|VAT ID|Description|Quantity|Unit price|VAT|Amount|Net|"
    "VAT {percent} on {net}|Total|Subtotal|Payment|Reference|Page|of|No entries|Enclosures|Contents|"
    "presented to|Date|"
    "Unit|Reference|Label|Value|"
    "Delivered|Period|Tax number|Account holder|Scan to pay|Your reference|Reverse charge|"
    "VAT-exempt intra-Community supply|VAT-exempt export",
    "es": "Factura|Fecha|Vencimiento|Facturar a|NIF/IVA|Descripción|Cantidad|Precio unitario|IVA|Importe|"
    "Base imponible|IVA {percent} sobre {net}|Total|Subtotal|Pago|Referencia|Página|de|Sin entradas|Anexos|Índice|"
    "otorgado a|Fecha|"
    "Unidad|Referencia|Concepto|Valor|"
    "Fecha de operación|Periodo|Número fiscal|Titular|Escanear para pagar|Su referencia|Inversión del sujeto pasivo|"
    "Entrega intracomunitaria exenta de IVA|Exportación exenta de IVA",
    "fr": "Facture|Date|Échéance|Facturé à|N° TVA|Désignation|Quantité|Prix unitaire|TVA|Montant HT|Total HT|"
    "TVA {percent} sur {net}|Total TTC|Sous-total|Paiement|Référence|Page|sur|Aucune entrée|Pièces jointes|Sommaire|"
    "décerné à|Date|"
    "Unité|Référence|Libellé|Valeur|"
    "Livraison|Période|N° fiscal|Titulaire|Scanner pour payer|Votre référence|Autoliquidation|"
    "Livraison intracommunautaire exonérée de TVA|Exportation exonérée de TVA",
    "it": "Fattura|Data|Scadenza|Intestatario|Partita IVA|Descrizione|Quantità|Prezzo unitario|IVA|Importo|Imponibile|"
    "IVA {percent} su {net}|Totale|Subtotale|Pagamento|Riferimento|Pagina|di|Nessuna voce|Allegati|Indice|"
    "conferito a|Data|"
    "Unità|Riferimento|Voce|Valore|"
    "Data di consegna|Periodo|Codice fiscale|Intestatario del conto|Scansiona per pagare|Vostro riferimento|"
    "Inversione contabile|Cessione intracomunitaria non imponibile IVA|Esportazione non imponibile IVA",
    "nl": "Factuur|Datum|Vervaldatum|Factuur aan|Btw-nummer|Omschrijving|Aantal|Stukprijs|Btw|Bedrag|Netto|"
    "Btw {percent} over {net}|Totaal|Subtotaal|Betaling|Kenmerk|Pagina|van|Geen regels|Bijlagen|Inhoud|"
    "uitgereikt aan|Datum|"
    "Eenheid|Kenmerk|Omschrijving|Waarde|"
    "Leverdatum|Periode|Fiscaal nummer|Rekeninghouder|Scan om te betalen|Uw kenmerk|Btw verlegd|"
    "Intracommunautaire levering, vrij van btw|Uitvoer, vrij van btw",
    "pl": "Faktura|Data wystawienia|Termin płatności|Nabywca|NIP|Nazwa|Ilość|Cena netto|VAT|Wartość netto|Razem netto|"
    "VAT {percent} od {net}|Do zapłaty|Suma częściowa|Płatność|Tytuł przelewu|Strona|z|Brak pozycji|Załączniki|"
    "Spis treści|przyznany|Data|"
    "Jednostka|Znak|Nazwa|Wartość|"
    "Data dostawy|Okres|Numer podatkowy|Posiadacz rachunku|Zeskanuj, aby zapłacić|Numer klienta|Odwrotne obciążenie|"
    "Wewnątrzwspólnotowa dostawa towarów|Eksport towarów",
}

LABELS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {code: dict(zip(_KEYS.split("|"), texts.split("|"), strict=True)) for code, texts in _TEXTS.items()}
)
