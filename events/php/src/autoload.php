<?php

declare(strict_types=1);

// For projects without Composer: require this file and use the classes.
spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Errands\\')) {
        $file = __DIR__ . '/' . str_replace('\\', '/', substr($class, strlen('Errands\\'))) . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
