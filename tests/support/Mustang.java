import org.mustangproject.validator.ZUGFeRDValidator;

/** Says of each file what Mustang finds, an XML document a line: java -cp 'FOLDER/*' Mustang.java FILE... */
class Mustang {
    public static void main(String[] files) {
        for (String file : files) {
            ZUGFeRDValidator validator = new ZUGFeRDValidator();
            validator.disableNotices();
            System.out.println("REPORT " + validator.validate(file).replace("\n", " ").replace("\r", " "));
        }
    }
}
