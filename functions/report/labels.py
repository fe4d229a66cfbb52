"""What the built-in documents call their parts, in the languages they speak."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_KEYS: Final = (
    "invoice|issued|due|buyer|vat_id|description|quantity|unit_price|tax|amount|net|tax_on|total|subtotal|payment|"
    "reference|page|of|empty|enclosures|contents|presented|date|unit|letter_reference|label|value"
)

_TEXTS: Final = {
    "ar": "فاتورة|التاريخ|تاريخ الاستحقاق|فاتورة إلى|الرقم الضريبي|الوصف|الكمية|سعر الوحدة|الضريبة|المبلغ|الصافي|"
    "ضريبة {percent} على {net}|الإجمالي|المجموع الفرعي|الدفع|المرجع|صفحة|من|لا توجد بيانات|المرفقات|المحتويات|"
    "تُمنح هذه الشهادة إلى|التاريخ|"
    "الوحدة|المرجع|البند|القيمة",
    "de": "Rechnung|Datum|Fällig am|Rechnung an|USt-IdNr.|Beschreibung|Menge|Einzelpreis|USt|Betrag|Netto|"
    "USt {percent} auf {net}|Gesamt|Zwischensumme|Zahlung|Verwendungszweck|Seite|von|Keine Einträge|Anlagen|Inhalt|"
    "verliehen an|Datum|"
    "Einheit|Unser Zeichen|Bezeichnung|Wert",
    "en": "Invoice|Date|Due|Bill to|VAT ID|Description|Quantity|Unit price|VAT|Amount|Net|"
    "VAT {percent} on {net}|Total|Subtotal|Payment|Reference|Page|of|No entries|Enclosures|Contents|"
    "presented to|Date|"
    "Unit|Reference|Label|Value",
    "es": "Factura|Fecha|Vencimiento|Facturar a|NIF/IVA|Descripción|Cantidad|Precio unitario|IVA|Importe|"
    "Base imponible|IVA {percent} sobre {net}|Total|Subtotal|Pago|Referencia|Página|de|Sin entradas|Anexos|Índice|"
    "otorgado a|Fecha|"
    "Unidad|Referencia|Concepto|Valor",
    "fr": "Facture|Date|Échéance|Facturé à|N° TVA|Désignation|Quantité|Prix unitaire|TVA|Montant HT|Total HT|"
    "TVA {percent} sur {net}|Total TTC|Sous-total|Paiement|Référence|Page|sur|Aucune entrée|Pièces jointes|Sommaire|"
    "décerné à|Date|"
    "Unité|Référence|Libellé|Valeur",
    "it": "Fattura|Data|Scadenza|Intestatario|Partita IVA|Descrizione|Quantità|Prezzo unitario|IVA|Importo|Imponibile|"
    "IVA {percent} su {net}|Totale|Subtotale|Pagamento|Riferimento|Pagina|di|Nessuna voce|Allegati|Indice|"
    "conferito a|Data|"
    "Unità|Riferimento|Voce|Valore",
    "nl": "Factuur|Datum|Vervaldatum|Factuur aan|Btw-nummer|Omschrijving|Aantal|Stukprijs|Btw|Bedrag|Netto|"
    "Btw {percent} over {net}|Totaal|Subtotaal|Betaling|Kenmerk|Pagina|van|Geen regels|Bijlagen|Inhoud|"
    "uitgereikt aan|Datum|"
    "Eenheid|Kenmerk|Omschrijving|Waarde",
    "pl": "Faktura|Data wystawienia|Termin płatności|Nabywca|NIP|Nazwa|Ilość|Cena netto|VAT|Wartość netto|Razem netto|"
    "VAT {percent} od {net}|Do zapłaty|Suma częściowa|Płatność|Tytuł przelewu|Strona|z|Brak pozycji|Załączniki|"
    "Spis treści|przyznany|Data|"
    "Jednostka|Znak|Nazwa|Wartość",
}

LABELS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {code: dict(zip(_KEYS.split("|"), texts.split("|"), strict=True)) for code, texts in _TEXTS.items()}
)
